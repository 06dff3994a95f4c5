/* The verbs of minifaas that have a file of their own. */
#ifndef FAAS_CMD_MINIFAAS_H
#define FAAS_CMD_MINIFAAS_H

/* Gets argv from the verb on; returns the exit status. */
typedef int minifaas_run(int argc, char **argv);

minifaas_run minifaas_key;

#endif

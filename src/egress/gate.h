/* What a process with an allow-list gets from inside its sandbox: loopback and a socket for its questions
 * about names, and a system call filter that asks the broker about every connect.
 *
 * Runs between clone and exec: system calls only, nothing is allocated. The filter adds to whatever other
 * filters there are; the strictest of them counts. */
#ifndef FAAS_EGRESS_GATE_H
#define FAAS_EGRESS_GATE_H

#include <stdbool.h>

/* Where the resolver of a function finds the broker; runtimes/network/resolv.conf says the same. */
#define GATE_DNS_ADDRESS "127.0.0.53"
enum { GATE_DNS_PORT = 53, GATE_FDS = 2 };

/* With rights over the network namespace: raises its loopback, and binds the broker's socket there. False
 * with errno. */
bool gate_open_loopback(int *ret_dns_fd);
/* In the program, once it can get no new privileges: installs the filter and sends its listener and dns_fd
 * (-1 = none) through a socket of type SEQPACKET to the broker. False with errno. */
bool gate_install(int channel_fd, int dns_fd);

#endif

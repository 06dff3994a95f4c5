/* One step of a build: a program in a sandbox, its input, its messages, its result. */
#ifndef FAAS_BUILDER_STEP_H
#define FAAS_BUILDER_STEP_H

#include "builder/builder.h"
#include "sandbox/sandbox.h"

struct step {
    struct sandbox_spec spec; /* program, argv, binds; step_init fills the rest */
    const void *input;        /* to descriptor 0; borrowed */
    size_t input_len;
    int output_fd; /* descriptor 3 of the program; borrowed */
};

enum { STEP_OUTPUT_MAX = 512 << 20, STEP_TMP_MB = 768 };

/* The limits, environment and file system that every step has. */
void step_init(struct step *step);
/* Runs it to its end; what it prints is appended to builder->messages. 0 when it exited with 0. ERR_COMPILE:
 * another exit code. ERR_INTERNAL: it could not run. Else as builder_build. */
int step_run(struct builder *builder, struct step *step, struct err *err);
/* What a bind's file is called for the program: its target, or its source where there is no root of its own.
 */
const char *step_path(const struct sandbox_bind *bind);
/* A new file of the stage, for output_fd. */
int step_create_file(const struct builder *builder, const char *name, int *ret_fd, struct err *err);

#endif

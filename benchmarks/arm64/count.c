/* A qemu plugin that counts the instructions of an arm64 program by class, between marks.
 *
 * A mark is the system call 155 (getpgid) with an argument of 1,000,000 and more. At each mark a line goes to the file
 * that COUNT_OUT names: the mark, then how many instructions of each class have run so far.
 * The plugin interface needs no header beyond the prototypes below (QEMU documentation, "TCG Plugins").
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef int64_t arg;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id, void (*)(plugin_id, unsigned, int64_t, arg, arg, arg, arg, arg, arg, arg, arg));

int qemu_plugin_version = 1;

enum { VECTOR_ARITHMETIC, VECTOR_MEMORY, SCALAR_MEMORY, BRANCH, OTHER, CLASSES };
static uint64_t counts[CLASSES];
static FILE *output;

/* The main encoding groups of A64 (Arm Architecture Reference Manual, C4.1): bits 28 to 25. */
static int class_of(uint32_t word) {
    uint32_t group = (word >> 25) & 15;
    if ((group & 7) == 7) return VECTOR_ARITHMETIC;
    if ((group & 5) == 4) return (word >> 26) & 1 ? VECTOR_MEMORY : SCALAR_MEMORY;
    if ((group & 14) == 10) return BRANCH;
    return OTHER;
}

static void on_block(plugin_id id, struct qemu_plugin_tb *block) {
    uint64_t found[CLASSES] = {0};
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        found[class_of(word)]++;
    }
    for (int k = 0; k < CLASSES; k++)
        if (found[k]) qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &counts[k], found[k]);
}

static void on_call(plugin_id id, unsigned cpu, int64_t number, arg a, arg b, arg c, arg d, arg e, arg f, arg g, arg h) {
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != 155 || a < 1000000) return;
    fprintf(output, "%ld", (long)(a - 1000000));
    for (int k = 0; k < CLASSES; k++) fprintf(output, " %lu", (unsigned long)counts[k]);
    fprintf(output, "\n");
    fflush(output);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    const char *path = getenv("COUNT_OUT");
    (void)info, (void)argc, (void)argv;
    output = path ? fopen(path, "w") : NULL;
    if (!output) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    qemu_plugin_register_vcpu_syscall_cb(id, on_call);
    return 0;
}

/* Refuses a CPU that lacks an instruction set which the binary was compiled for: one line, in place of an illegal instruction.
 *
 * It must never be compiled for more than the oldest x86-64, and runs before everything else: from .preinit_array, ahead of the
 * constructors of shared libraries (DPDK's use SSE4.2) and of all Rust, whose first instructions may already be AVX.
 *
 * build.rs compiles it, with NEED_… for each feature that rustc may use. */
#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { EBX, ECX, EDX };

/* Where CPUID says that a feature is there (Intel SDM volume 2, CPUID). */
struct feature {
    const char *name;
    int needed;
    unsigned leaf;
    int word;
    unsigned bit;
};

static const struct feature features[] = {
    {"sse3", NEED_SSE3, 1, ECX, 0},   {"ssse3", NEED_SSSE3, 1, ECX, 9}, {"sse4.1", NEED_SSE4_1, 1, ECX, 19},
    {"sse4.2", NEED_SSE4_2, 1, ECX, 20}, {"popcnt", NEED_POPCNT, 1, ECX, 23}, {"movbe", NEED_MOVBE, 1, ECX, 22},
    {"aes", NEED_AES, 1, ECX, 25},    {"avx", NEED_AVX, 1, ECX, 28},    {"f16c", NEED_F16C, 1, ECX, 29},
    {"fma", NEED_FMA, 1, ECX, 12},    {"bmi1", NEED_BMI1, 7, EBX, 3},   {"avx2", NEED_AVX2, 7, EBX, 5},
    {"bmi2", NEED_BMI2, 7, EBX, 8},   {"lzcnt", NEED_LZCNT, 0x80000001, ECX, 5},
};

static int has(const struct feature *feature) {
    unsigned eax = 0, word[3] = {0, 0, 0};
    if (!__get_cpuid_count(feature->leaf, 0, &eax, &word[EBX], &word[ECX], &word[EDX])) return 0;
    return word[feature->word] >> feature->bit & 1;
}

/* Whether the kernel keeps the upper halves of vector registers: without that AVX is an illegal instruction too. */
static int keeps_avx_state(void) {
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx >> 27 & 1)) return 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & 6) == 6;
}

static void append(char *line, size_t *len, const char *text) {
    size_t added = strlen(text);
    memcpy(line + *len, text, added);
    *len += added;
}

static void check(void) {
    /* Room for all names and both sentences. */
    char line[512];
    size_t len = 0;
    int missing = 0;
    append(line, &len, "error: this CPU lacks ");
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (!features[i].needed || has(&features[i])) continue;
        if (missing++) append(line, &len, ", ");
        append(line, &len, features[i].name);
    }
    if (!missing && NEED_AVX && !keeps_avx_state()) {
        append(line, &len, "AVX state, which its kernel or hypervisor switches off,");
        missing++;
    }
    if (!missing) return;
    append(line, &len, " and this binary was built for a CPU that has all of it: build it here with "
                       "RUSTFLAGS=\"-C target-cpu=native\" cargo build --release\n");
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written;
    _exit(1);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = check;

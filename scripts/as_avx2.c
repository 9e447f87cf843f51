// Hides AVX-512 from JAX's library: loaded by glibc's LD_AUDIT (man rtld-audit), which calls
// la_objopen when a library lies in memory and none of its code has run.
//
// AS_AVX2_SITES names a file of the places, in hexadecimal, of the library's cpuid instructions.
// Each becomes an undefined instruction, which is as long; its signal's handler asks the processor
// and takes AVX-512 out of the answer.

#define _GNU_SOURCE
#include <cpuid.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define MOST 4096

static uintptr_t sites[MOST];
static int known;

// Bits of leaf 7 that speak of AVX-512 or of what has it as a part (AMX, AVX10).
static const uint32_t FOUNDATION = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 |
                                   1u << 30 | 1u << 31;
static const uint32_t LATER = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
static const uint32_t LAST = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25;
static const uint32_t BFLOAT16 = 1u << 5, AVX10 = 1u << 19;

static void answer(int signal, siginfo_t *info, void *context) {
  greg_t *at = ((ucontext_t *)context)->uc_mcontext.gregs;
  int ours = 0;
  for (int i = 0; i < known; i++) ours |= sites[i] == (uintptr_t)at[REG_RIP];
  if (!ours) {  // another's undefined instruction, which ends the program when it runs again
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    return;
  }
  uint32_t leaf = at[REG_RAX], part = at[REG_RCX], a, b, c, d;
  __cpuid_count(leaf, part, a, b, c, d);
  if (leaf == 7 && part == 0) b &= ~FOUNDATION, c &= ~LATER, d &= ~LAST;
  if (leaf == 7 && part == 1) a &= ~BFLOAT16, d &= ~AVX10;
  at[REG_RAX] = a, at[REG_RBX] = b, at[REG_RCX] = c, at[REG_RDX] = d;
  at[REG_RIP] += 2;
}

static void hide(unsigned char *site) {
  const size_t page = sysconf(_SC_PAGESIZE);
  void *start = (void *)((uintptr_t)site & ~(page - 1));
  if (site[0] != 0x0f || site[1] != 0xa2 || known == MOST ||
      mprotect(start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC)) {
    fputs("as_avx2: the library's code is not as it was listed\n", stderr);
    _exit(1);
  }
  site[1] = 0x0b;  // ud2
  mprotect(start, 2 * page, PROT_READ | PROT_EXEC);
  sites[known++] = (uintptr_t)site;
}

unsigned la_version(unsigned version) { return version; }

unsigned la_objopen(struct link_map *map, Lmid_t space, uintptr_t *cookie) {
  const char *library = getenv("AS_AVX2_LIBRARY"), *list = getenv("AS_AVX2_SITES");
  FILE *file = library && list && !strcmp(map->l_name, library) ? fopen(list, "r") : NULL;
  if (!file) return 0;
  for (unsigned long at; fscanf(file, "%lx", &at) == 1;) hide((unsigned char *)map->l_addr + at);
  fclose(file);
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGILL, &action, NULL);
  return 0;
}

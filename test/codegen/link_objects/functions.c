// Compiled freestanding and position-independent for link_test: each function needs another kind of relocation.
#include <stddef.h>
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);

int add_seven(int x);                       // in other.c
extern const int shared_table[4];           // in other.c, loaded through the GOT

__attribute__((noinline)) int calls_other_object(int x) { return add_seven(x) * 2; }                  // PLT32
int reads_constant(int i) {
  static const int table[8] = {11, 22, 33, 44, 55, 66, 77, 88};
  return table[i & 7]; // PC32
}
int reads_through_got(int i) { return shared_table[i & 3]; } // GOTPCREL, REX_GOTPCRELX
const char *reads_pointer(int i) {                            // X86_64_64 in .data.rel.ro
  static const char *const names[] = {"zero", "one", "two"};
  return names[i % 3];
}
// Names for the builtins, so that the test can call them.
void *copy(void *to, const void *from, size_t n) { return memcpy(to, from, n); }
void *move(void *to, const void *from, size_t n) { return memmove(to, from, n); }
void *fill(void *to, int byte, size_t n) { return memset(to, byte, n); }

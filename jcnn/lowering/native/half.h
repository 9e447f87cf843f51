// bfloat16, the upper half of a float32: vectors of it, and pairs of it in place of float32.
#pragma once

#include "product.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace jcnn {

// Whether the processor multiplies pairs of bfloat16, and adds both products to a float32.
#if defined(__AVX512BF16__)
constexpr bool kPairs = true;
#else
constexpr bool kPairs = false;
#endif

typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));

inline Vector Widened(Halves v) {
  return (Vector)(__builtin_convertvector(v, Words) << 16);
}

// To the nearest, of two as near the even one; what is not a number stays so.
inline Halves Narrowed(Vector v) {
  const Words bits = (Words)v, nan = (Words)(v != v);
  const Words rounded = bits + 0x7fff + (bits >> 16 & 1);
  return __builtin_convertvector(((nan & (bits | 0x400000)) | (~nan & rounded)) >> 16, Halves);
}

inline Vector Load(const uint16_t* from) {
  Halves v;
  std::memcpy(&v, from, sizeof v);
  return Widened(v);
}

inline Vector LoadFirst(const uint16_t* from, int64_t count) {
  if (count >= kLanes) return Load(from);
  Halves v = {};
  std::memcpy(&v, from, count * sizeof *from);
  return Widened(v);
}

inline void StoreFirst(uint16_t* to, Vector v, int64_t count) {
  const Halves narrow = Narrowed(v);
  if (count >= kLanes)
    std::memcpy(to, &narrow, sizeof narrow);
  else
    std::memcpy(to, &narrow, count * sizeof *to);
}

// Pairs of neighbours: half as many words.
inline void StoreNeighbours(float* to, Vector v) {
#if defined(__AVX512BF16__)
  const __m256bh narrow = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(to, &narrow, sizeof narrow);
#endif
}

// Pairs of the first's and the second's elements.
inline Vector Paired(Vector first, Vector second) {
#if defined(__AVX512BF16__)
  const __m512bh both = _mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  alignas(64) static constexpr uint16_t kOrder[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (Vector)_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), (__m512i)both);
#else
  return first;
#endif
}

}  // namespace jcnn

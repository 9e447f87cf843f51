// Vectors of float32, and matrix products of a few rows that stay in registers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace jcnn {

// Sums of kRows rows and kVectors vectors fill the registers that there are.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 12;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 6;
#else
constexpr int kLanes = 4, kRows = 8;
#endif
constexpr int kVectors = 2, kPanel = kVectors * kLanes;

typedef float Vector __attribute__((vector_size(4 * kLanes)));

inline Vector Load(const float* from) {
  Vector v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline void Store(float* to, Vector v) { std::memcpy(to, &v, sizeof v); }

// The first count elements, or all; zeros for the others. Of a half or a quarter of them it is one
// instruction.
inline Vector LoadFirst(const float* from, int64_t count) {
  if (count >= kLanes) return Load(from);
  Vector v = {};
  if (count == kLanes / 2)
    std::memcpy(&v, from, sizeof v / 2);
  else if (count == kLanes / 4)
    std::memcpy(&v, from, sizeof v / 4);
  else
    std::memcpy(&v, from, count * sizeof(float));
  return v;
}

inline void StoreFirst(float* to, Vector v, int64_t count) {
  if (count >= kLanes)
    Store(to, v);
  else if (count == kLanes / 2)
    std::memcpy(to, &v, sizeof v / 2);
  else if (count == kLanes / 4)
    std::memcpy(to, &v, sizeof v / 4);
  else
    std::memcpy(to, &v, count * sizeof(float));
}

// sum + a b, for each element of b; of pairs of bfloat16, which take a float32's place, the sum of
// both products.
template <bool PAIRS>
inline __attribute__((always_inline)) Vector Added(Vector sum, const float* a, Vector b) {
#if defined(__AVX512BF16__)
  if constexpr (PAIRS) {
    int pair;
    std::memcpy(&pair, a, sizeof pair);
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)b);
  }
#endif
  return sum + *a * b;
}

inline int64_t WholeVectors(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// The first factor of a product, rows by terms: terms in runs of `length`, each `step` after the one
// before, that begin where `runs` says; a row is `row` after the one before. One of both is 1: terms
// lie beside each other, or, where a product is said to be BESIDE, rows do.
struct Factor {
  const float* at;
  int64_t row, step, length;
  const int64_t* runs;
  int64_t count;
};

// A matrix as it lies: elements from one row, and from one term of the sum, to the next.
inline Factor Matrix(const float* at, int64_t row, int64_t step, int64_t terms) {
  static constexpr int64_t kNone[] = {0};
  return {at, row, step, terms, kNone, 1};
}

// The product: a row is `row` after the one before, and only the first `columns` are written. It is
// `far` where no cache holds it yet.
struct Place {
  float* at;
  int64_t row, columns;
  bool far = false;
};

// Brings in the lines that a product will be written or added to, while it is computed.
template <int ROWS, int VECTORS>
inline __attribute__((always_inline)) void Announce(const Place& to) {
  constexpr int kLine = 16;
#pragma GCC unroll 24
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int d = 0; d < VECTORS * kLanes; d += kLine) __builtin_prefetch(to.at + i * to.row + d, 1);
}

// to (ROWS, VECTORS) = a (ROWS, terms) b (terms, VECTORS), or added to what is there.
//
// Half of the rows have a base of their own: of one, the distances of so many rows don't fit into
// the registers for addresses, and the compiler doesn't find it by itself.
template <int ROWS, int VECTORS, bool ADD, bool PAIRS, bool BESIDE>
inline __attribute__((always_inline)) void Tile(const Factor& a, const float* b, int64_t b_term,
                                                const Place& to) {
  Vector sum[ROWS][VECTORS] = {};
  if (ADD || to.far) Announce<ROWS, VECTORS>(to);
  constexpr int kUpper = ROWS / 2;
  const int64_t row = BESIDE ? 1 : a.row, step = BESIDE ? a.step : 1, length = a.length;
  for (int64_t r = 0; r < a.count; ++r) {
    const float* from = a.at + a.runs[r];
    const float* lower = from + kUpper * row;
    if constexpr (!BESIDE) asm("" : "+r"(lower));
    for (int64_t k = 0; k < length; ++k, from += step, lower += step, b += b_term) {
      Vector second[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) second[v] = Load(b + v * kLanes);
#pragma GCC unroll 24
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v)
          sum[i][v] = Added<PAIRS>(sum[i][v], i < kUpper ? from + i * row : lower + (i - kUpper) * row,
                                   second[v]);
    }
  }
  if (ADD) {  // at last: what was announced has come by now
#pragma GCC unroll 24
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sum[i][v] += Load(to.at + i * to.row + v * kLanes);
  }
  if (to.columns >= VECTORS * kLanes) {
#pragma GCC unroll 24
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) Store(to.at + i * to.row + v * kLanes, sum[i][v]);
  } else {
#pragma GCC unroll 24
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v)
        StoreFirst(to.at + i * to.row + v * kLanes, sum[i][v], to.columns - v * kLanes);
  }
}

// The same for up to kRows rows and one or two vectors, known when it runs. What is added to has
// whole vectors.
template <bool ADD, bool PAIRS, bool BESIDE, int ROWS = kRows>
void SomeRows(int64_t rows, const Factor& a, const float* b, int64_t b_term, const Place& to) {
  if (rows < ROWS) {
    if constexpr (ROWS > 1) SomeRows<ADD, PAIRS, BESIDE, ROWS - 1>(rows, a, b, b_term, to);
  } else if (to.columns > kLanes) {
    Tile<ROWS, 2, ADD, PAIRS, BESIDE>(a, b, b_term, to);
  } else {
    Tile<ROWS, 1, ADD, PAIRS, BESIDE>(a, b, b_term, to);
  }
}

// A second factor, (terms, columns): panels of kPanel columns, the last of whole vectors, one after
// another, or rows of whole vectors, `row` apart.
struct Columns {
  const float* at;
  bool panels;
  int64_t row;
};

// to (rows, columns) = a (rows, terms) b (terms, columns), or added to what is there.
//
// The rows in registers meet all columns before the next: where rows lie apart in memory, as those
// of a transposed factor do, each is brought into the cache once.
template <bool ADD, bool PAIRS, bool BESIDE>
inline void Product(int64_t rows, const Factor& a, const Columns& b, const Place& to) {
  const int64_t terms = a.count * a.length;
  for (int64_t i = 0; i < rows;) {
    Factor some = a;
    some.at += i * a.row;
    if (to.columns <= kLanes && rows - i >= 2 * kRows) {  // of one vector, twice the rows fit
      Tile<2 * kRows, 1, ADD, PAIRS, BESIDE>(some, b.at, b.panels ? kLanes : b.row,
                                             {to.at + i * to.row, to.row, to.columns, to.far});
      i += 2 * kRows;
      continue;
    }
    for (int64_t d = 0; d < to.columns; d += kPanel) {
      const int64_t wide = to.columns - d > kLanes ? kPanel : kLanes;
      const float* second = b.at + (b.panels ? d * terms : d);
      SomeRows<ADD, PAIRS, BESIDE>(rows - i, some, second, b.panels ? wide : b.row,
                                   {to.at + i * to.row + d, to.row, to.columns - d, to.far});
    }
    i += kRows;
  }
}

// The same of a first factor whose rows lie beside each other and whose terms lie apart, as those of
// a kernel gradient do. Some rows of all terms are brought together before they meet the columns: a
// power of two apart, terms would push each other out of the cache at every panel.
template <bool ADD>
inline void ProductOfApart(int64_t rows, const Factor& a, const Columns& b, const Place& to) {
  constexpr int64_t kTerms = 256, kStrips = 4;
  const int64_t terms = a.count * a.length;
  if (to.columns <= kPanel || terms > kTerms) return Product<ADD, false, true>(rows, a, b, to);
  float together[kStrips * kTerms * kRows];
  for (int64_t i = 0; i < rows; i += kStrips * kRows) {
    const int64_t some = std::min(kStrips * kRows, rows - i);
    float* term = together;
    for (int64_t r = 0; r < a.count; ++r) {
      const float* from = a.at + a.runs[r] + i;
      for (int64_t k = 0; k < a.length; ++k, from += a.step, term += kRows)
        for (int64_t first = 0; first < some; first += kRows)
          std::copy_n(from + first, std::min<int64_t>(kRows, some - first), term + first * terms);
    }
    for (int64_t first = 0; first < some; first += kRows)
      Product<ADD, false, true>(std::min<int64_t>(kRows, some - first),
                                Matrix(together + first * terms, 1, kRows, terms), b,
                                {to.at + (i + first) * to.row, to.row, to.columns, to.far});
  }
}

}  // namespace jcnn

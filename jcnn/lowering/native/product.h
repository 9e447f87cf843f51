// Vectors of float32, and matrix products of a few rows that stay in registers.
#pragma once

#include <cstdint>
#include <cstring>

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

// The first count elements, or all; zeros for the others.
inline Vector LoadFirst(const float* from, int64_t count) {
  if (count >= kLanes) return Load(from);
  Vector v = {};
  std::memcpy(&v, from, count * sizeof(float));
  return v;
}

inline void StoreFirst(float* to, Vector v, int64_t count) {
  std::memcpy(to, &v, (count < kLanes ? count : kLanes) * sizeof(float));
}

inline int64_t WholeVectors(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// How a matrix lies in memory: elements from one row, and from one term of the sum, to the next.
struct Strides {
  int64_t row, term;
};

// to (ROWS, VECTORS) = a (ROWS, terms) b (terms, VECTORS), or added to what is there.
template <int ROWS, int VECTORS, bool ADD>
inline __attribute__((always_inline)) void Tile(const float* a, Strides of_a, const float* b,
                                                int64_t b_term, int64_t terms, float* to,
                                                int64_t to_row) {
  Vector sum[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v)
      sum[i][v] = ADD ? Load(to + i * to_row + v * kLanes) : Vector{};
  for (int64_t k = 0; k < terms; ++k, a += of_a.term, b += b_term) {
    Vector row[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) row[v] = Load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sum[i][v] += a[i * of_a.row] * row[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) Store(to + i * to_row + v * kLanes, sum[i][v]);
}

// The same for up to kRows rows and one or two vectors, known when it runs.
template <bool ADD, int ROWS = kRows>
void SomeRows(int64_t rows, const float* a, Strides of_a, const float* b, int64_t b_term,
              int64_t terms, float* to, int64_t to_row, bool two) {
  if (rows < ROWS) {
    if constexpr (ROWS > 1) {
      SomeRows<ADD, ROWS - 1>(rows, a, of_a, b, b_term, terms, to, to_row, two);
    }
  } else if (two) {
    Tile<ROWS, 2, ADD>(a, of_a, b, b_term, terms, to, to_row);
  } else {
    Tile<ROWS, 1, ADD>(a, of_a, b, b_term, terms, to, to_row);
  }
}

// A second factor, (terms, columns), columns a whole number of vectors: a panel of kPanel columns
// after another, or all of a row beside each other.
struct Columns {
  const float* at;
  bool panels;
};

// to (rows, columns) = a (rows, terms) b (terms, columns), or added to what is there.
//
// The rows in registers meet all columns before the next: where rows lie apart in memory, as those
// of a transposed factor do, each is brought into the cache once.
template <bool ADD>
inline void Product(int64_t rows, int64_t terms, int64_t columns, const float* a, Strides of_a,
                    Columns b, float* to) {
  for (int64_t i = 0; i < rows; i += kRows) {
    for (int64_t d = 0; d < columns; d += kPanel) {
      const bool two = d + kLanes < columns;
      const int64_t b_term = !b.panels ? columns : two ? kPanel : kLanes;
      SomeRows<ADD>(rows - i, a + i * of_a.row, of_a, b.at + (b.panels ? d * terms : d), b_term,
                    terms, to + i * columns + d, columns, two);
    }
  }
}

}  // namespace jcnn

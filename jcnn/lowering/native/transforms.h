// The transforms of minimal filtering, a vector of channels at a time.
#pragma once

#include "product.h"

namespace jcnn {

// Of the matrices that jcnn/lowering/winograd.py makes, rows 0 and 1 stand for themselves. The
// others are pairs, of two opposite points: equal in even columns, opposite in odd ones. So a pair
// takes the work of one.

// y = M x, of vectors that lie x_step and y_step apart.
template <int N, int K>
inline __attribute__((always_inline)) void Transform(const float (&m)[N][K], const Vector* x,
                                                     int x_step, Vector* y, int y_step) {
#pragma GCC unroll 8
  for (int i = 0; i < 2; ++i) {
    Vector sum = {};
#pragma GCC unroll 8
    for (int j = 0; j < K; ++j)
      if (m[i][j] != 0) sum += m[i][j] * x[j * x_step];
    y[i * y_step] = sum;
  }
#pragma GCC unroll 8
  for (int i = 2; i < N; i += 2) {
    Vector even = {}, odd = {};
#pragma GCC unroll 8
    for (int j = 0; j < K; j += 2)
      if (m[i][j] != 0) even += m[i][j] * x[j * x_step];
#pragma GCC unroll 8
    for (int j = 1; j < K; j += 2)
      if (m[i][j] != 0) odd += m[i][j] * x[j * x_step];
    y[i * y_step] = even + odd;
    y[(i + 1) * y_step] = even - odd;
  }
}

// y = M' x.
template <int N, int K>
inline __attribute__((always_inline)) void Adjoint(const float (&m)[N][K], const Vector* x,
                                                   int x_step, Vector* y, int y_step) {
  Vector sums[N / 2], differences[N / 2];
#pragma GCC unroll 8
  for (int j = 2; j < N; j += 2) {
    sums[j / 2] = x[j * x_step] + x[(j + 1) * x_step];
    differences[j / 2] = x[j * x_step] - x[(j + 1) * x_step];
  }
#pragma GCC unroll 8
  for (int i = 0; i < K; ++i) {
    Vector total = {};
#pragma GCC unroll 8
    for (int j = 0; j < 2; ++j)
      if (m[j][i] != 0) total += m[j][i] * x[j * x_step];
#pragma GCC unroll 8
    for (int j = 2; j < N; j += 2)
      if (m[j][i] != 0) total += m[j][i] * (i % 2 ? differences : sums)[j / 2];
    y[i * y_step] = total;
  }
}

}  // namespace jcnn

// Maxima of windows with the element that wins, a vector of channels at a time:
//
//   y[m] = max_k x[strides m + dilation k - before]
//
// Padding counts as -inf, and the winner of a window is the first element that reaches its maximum.
#pragma once

#include <algorithm>
#include <limits>

#include "images.h"
#include "parallel.h"
#include "product.h"
#include "seen.h"

namespace jcnn {

typedef int32_t Numbers __attribute__((vector_size(4 * kLanes)));

// Winner is an unsigned integer that holds taps and one value more, "none".
template <class Winner>
struct MaxPool {
  static constexpr Winner kNone = std::numeric_limits<Winner>::max();
  // Vectors of channels that share a window's pass: each comparison waits for the one before it.
  static constexpr int kTogether = 4;
  typedef Winner Narrow __attribute__((vector_size(sizeof(Winner) * kLanes)));

  static void StoreWinners(Winner* to, Numbers winners, int64_t count) {
    const Narrow v = __builtin_convertvector(winners, Narrow);
    if (count >= kLanes)
      std::memcpy(to, &v, sizeof v);
    else
      std::memcpy(to, &v, count * sizeof(Winner));
  }

  // NaN in a window gives NaN; `floor`, unless it is NaN, is one element more, that has no index.
  static void Run(const Team& team, const Correlation& s, const float* x, float floor,
                  float* y, Winner* winner) {
    const int64_t channels = s.in.channels;
    const Blocks blocks(s, std::clamp<int64_t>(Shared(s.positions(), team), 1, s.out.width));
    Parallel(team, blocks.count(), [&](int, int64_t number) {
      const Lines block = blocks[number];  // a line, or a part of it
      const int64_t line = block.first, top = s.top(line);
      const Within rows(top, s.window.down, s.dilation.down, s.in.height);
      const float* image = x + line / s.out.height * s.in.whole() + top * s.in.row();
      for (int64_t m = block.left; m < block.right; ++m) {
        const int64_t left = m * s.strides.right - s.before.right;
        const Within columns(left, s.window.right, s.dilation.right, s.in.width);
        const int64_t to = (line * s.out.width + m) * channels;
        const float* first = image + left * channels;
        int64_t c = 0;
        for (; c + kTogether * kLanes <= channels; c += kTogether * kLanes)
          Window<kTogether>(s, rows, columns, first + c, channels - c, floor, y + to + c,
                            winner + to + c);
        for (; c < channels; c += kLanes)
          Window<1>(s, rows, columns, first + c, channels - c, floor, y + to + c, winner + to + c);
      }
    });
  }

  template <int VECTORS>
  static void Window(const Correlation& s, const Within& rows, const Within& columns,
                     const float* first, int64_t rest, float floor, float* y, Winner* winner) {
    const int64_t down = s.dilation.down * s.in.row(), right = s.dilation.right * s.in.channels;
    Vector best[VECTORS];
    Numbers index[VECTORS] = {};
    for (Vector& v : best) v = Vector{} - std::numeric_limits<float>::infinity();
    for (int64_t i = rows.first; i < rows.last; ++i) {
      const float* from = first + i * down + columns.first * right;
      int32_t k = static_cast<int32_t>(i * s.window.right + columns.first);
      for (int64_t j = columns.first; j < columns.last; ++j, ++k, from += right)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) {
          const Vector x = VECTORS > 1 ? Load(from + v * kLanes) : LoadFirst(from, rest);
          const Numbers larger = (x > best[v]) | (x != x);
          best[v] = larger ? x : best[v];
          index[v] = larger ? Numbers{} + k : index[v];
        }
    }
    for (int v = 0; v < VECTORS; ++v, rest -= kLanes, y += kLanes, winner += kLanes)
      Finish(best[v], index[v], rest, floor, y, winner);
  }

  static void Finish(Vector best, Numbers index, int64_t rest, float floor, float* y,
                     Winner* winner) {
    if (floor == floor) {
      const Vector least = Vector{} + floor;
      index = best > least ? index : Numbers{} + static_cast<int32_t>(kNone);
      best = best <= least ? least : best;
    }
    StoreFirst(y, best, rest);
    StoreWinners(winner, index, rest);
  }
};

}  // namespace jcnn

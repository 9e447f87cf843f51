// Minimal filtering's tiles: where they lie, and their transforms on the way in and out.
#pragma once

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "half.h"
#include "images.h"
#include "matrices.h"
#include "parallel.h"
#include "transforms.h"

namespace jcnn {

constexpr int kTile = 4;

// Tiles of outputs, in a row, in a column, and in all.
inline int64_t Wide(const Correlation& s) { return (s.out.width + kTile - 1) / kTile; }
inline int64_t Tall(const Correlation& s) { return (s.out.height + kTile - 1) / kTile; }
inline int64_t TileCount(const Correlation& s) { return s.out.count * Tall(s) * Wide(s); }

// Groups of a block: as many as have kBeside channels and fill whole vectors; all, where none do.
// Of fewer channels, the lines of the cache that are read would lie too far apart.
constexpr int64_t kBeside = 64;

inline int64_t Together(const Correlation& s) {
  const auto fill = [](int64_t n) { return kLanes / std::gcd<int64_t>(n, kLanes); };
  int64_t groups = std::lcm(fill(s.channels()), fill(s.features()));
  if (s.groups % groups != 0) return s.groups;
  while (s.groups % (2 * groups) == 0 && groups * s.channels() < kBeside) groups *= 2;
  return groups;
}

// Tiles first to last - 1 of some groups, and room for their two transforms.
struct Block {
  int64_t first, last, group, groups;
  float *in, *out;

  int64_t tiles() const { return last - first; }
};

// From one tile's channels to the next's: a line more where these are so many lines that the tiles
// would meet in few sets of the nearest cache.
inline int64_t Apart(int64_t channels) {
  constexpr int64_t kLine = 16, kFew = 8 * kLine;
  const int64_t whole = WholeVectors(channels);
  return whole % kFew == 0 ? whole + kLine : whole;
}

// The transforms of a tile and of blocks of them, of arrays of T; in PAIRS two terms of the
// products' sums, channels or for the kernel gradient tiles, lie rounded in the place of one.
template <int R, class T, bool PAIRS>
struct Tiles {
  static constexpr int A = kTile + R - 1, E = A * A;
  using M = std::conditional_t<PAIRS, MatricesOfPairs<R>, Matrices<R>>;

  // So many terms as they lie.
  static int64_t Terms(int64_t count) { return PAIRS ? (count + 1) / 2 : count; }

  // The image of a tile, and its first row and column of outputs.
  struct Corner {
    int64_t image, row, column;
  };

  static Corner CornerOf(const Correlation& s, int64_t tile) {
    const int64_t row = tile / Wide(s);
    return {row / Tall(s), row % Tall(s) * kTile, tile % Wide(s) * kTile};
  }

  // G w of a channel of a group, for a vector of features from d on.
  static void Kernel(const Correlation& s, const T* w, int64_t g, int64_t c, int64_t d, Vector* out) {
    const T* from = w + c * s.out.channels + g * s.features() + d;
    Vector in[R * R], half[A * R];
    for (int k = 0; k < R * R; ++k)
      in[k] = LoadFirst(from + k * s.channels() * s.out.channels, s.features() - d);
    for (int k = 0; k < R; ++k) Transform(M::kKernel, in + k, R, half + k, R);
    for (int i = 0; i < A; ++i) Transform(M::kKernel, half + i * R, 1, out + i * A, 1);
  }

  // G w: (E, groups, panels of terms x kPanel features).
  static void Kernels(const Team& team, const Correlation& s, const T* w, float* to) {
    const int64_t terms = Terms(s.channels()), depth = WholeVectors(s.features());
    const int64_t all = s.groups * terms;
    Parallel(Needed(E * all * depth, team), all, [&](int, int64_t number) {
      const int64_t g = number / terms, k = number % terms;
      for (int64_t d = 0; d < s.features(); d += kLanes) {
        Vector out[E];
        Kernel(s, w, g, PAIRS ? 2 * k : k, d, out);
        if constexpr (PAIRS) {
          Vector next[E] = {};
          if (2 * k + 1 < s.channels()) Kernel(s, w, g, 2 * k + 1, d, next);
          for (int e = 0; e < E; ++e) out[e] = Paired(out[e], next[e]);
        }
        const int64_t panel = d / kPanel * kPanel;
        const int64_t columns = std::min<int64_t>(kPanel, depth - panel);
        float* first = to + (g * depth + panel) * terms + k * columns + (d - panel);
        for (int e = 0; e < E; ++e) Store(first + e * all * depth, out[e]);
      }
    });
  }

  // What a tile sees of an image: its first element, and which rows and columns there are.
  struct Seen {
    const T* corner;
    int64_t top, left;
    bool inside;
  };

  static Seen OfInputs(const Correlation& s, const T* x, int64_t tile) {
    const Corner at = CornerOf(s, tile);
    const int64_t top = at.row - s.before.down, left = at.column - s.before.right;
    const bool inside = top >= 0 && left >= 0 && top + A <= s.in.height && left + A <= s.in.width;
    return {x + at.image * s.in.whole() + top * s.in.row() + left * s.in.channels, top, left, inside};
  }

  static Seen OfCotangents(const Correlation& s, const T* dy, int64_t tile) {
    const Corner at = CornerOf(s, tile);
    const int64_t row = at.image * s.out.height + at.row;
    return {dy + row * s.out.row() + at.column * s.out.channels, at.row, at.column, true};
  }

  // The second axis of a transform whose first is done: sink(element, vector) of each.
  template <int K, class Sink>
  static inline __attribute__((always_inline)) void Rows(const float (&m)[A][K], const Vector* half,
                                                         const Sink& sink) {
#pragma GCC unroll 1
    for (int i = 0; i < A; ++i) {
      Vector out[A];
      Transform(m, half + i * K, 1, out, 1);
#pragma GCC unroll 8
      for (int j = 0; j < A; ++j) sink(i * A + j, out[j]);
    }
  }

  // B' x of a vector of a tile's channels from c on: sink(element, vector) of each.
  template <class Sink>
  static inline __attribute__((always_inline)) void Input(const Correlation& s, const Seen at,
                                                          int64_t c, int64_t rest,
                                                          const Sink& sink) {
    const int64_t row = s.in.row(), pixel = s.in.channels;
    Vector in[A], half[E];
#pragma GCC unroll 1
    for (int j = 0; j < A; ++j) {
      const T* column = at.corner + j * pixel + c;
      if (at.inside && rest >= kLanes) {
#pragma GCC unroll 8
        for (int i = 0; i < A; ++i) in[i] = Load(column + i * row);
      } else {
        const bool within = at.left + j >= 0 && at.left + j < s.in.width;
#pragma GCC unroll 8
        for (int i = 0; i < A; ++i)
          in[i] = within && at.top + i >= 0 && at.top + i < s.in.height
                      ? LoadFirst(column + i * row, rest)
                      : Vector{};
      }
      Transform(M::kInput, in, 1, half + j, A);
    }
    Rows(M::kInput, half, sink);
  }

  // A dy of a vector of a tile's features from d on: sink(element, vector) of each.
  template <class Sink>
  static inline __attribute__((always_inline)) void Cotangent(const Correlation& s, const Seen at,
                                                              int64_t d, int64_t rest,
                                                              const Sink& sink) {
    const int64_t row = s.out.row();
    const int64_t rows = s.out.height - at.top, columns = s.out.width - at.left;
    Vector in[kTile], half[A * kTile];
#pragma GCC unroll 1
    for (int j = 0; j < kTile; ++j) {
      const T* column = at.corner + j * s.out.channels + d;
#pragma GCC unroll 8
      for (int i = 0; i < kTile; ++i)
        in[i] = i < rows && j < columns ? LoadFirst(column + i * row, rest) : Vector{};
      Transform(M::kPowers, in, 1, half + j, kTile);
    }
    Rows(M::kPowers, half, sink);
  }

  // B' x of a block as a correlation reads it: (E, tiles, terms), these up to whole vectors.
  static void Inputs(const Correlation& s, const T* x, const Block& block) {
    const int64_t channels = block.groups * s.channels();
    const int64_t deep = Apart(Terms(channels)), one = block.tiles() * deep;
    float* row = block.in;
    for (int64_t t = block.first; t < block.last; ++t, row += deep) {
      const Seen at = OfInputs(s, x + block.group * s.channels(), t);
#pragma GCC unroll 1
      for (int64_t c = 0; c < channels; c += kLanes) {
        float* to = row + (PAIRS ? c / 2 : c);
        Input(s, at, c, channels - c, [to, one](int e, Vector v) {
          if constexpr (PAIRS) StoreNeighbours(to + e * one, v);
          else Store(to + e * one, v);
        });
      }
    }
  }

  // Transforms of some of a block's tiles, from an even one on, as a kernel gradient reads them: (E,
  // terms, channels), these up to whole vectors. Of a vector of a tile they are made by
  // transform(what the tile sees, ...).
  template <class See, class Made>
  static void ByTiles(const Block& block, int64_t first, int64_t last, int64_t channels, float* to,
                      const See& see, const Made& transform) {
    const int64_t deep = Apart(channels), one = Terms(block.tiles()) * deep;
    float* row = to + Terms(first - block.first) * deep;
    for (int64_t t = first; t < last; t += PAIRS ? 2 : 1, row += deep) {
      const bool both = PAIRS && t + 1 < last;
      const Seen at = see(t), next = both ? see(t + 1) : at;
      for (int64_t c = 0; c < channels; c += kLanes) {
        float* to = row + c;
        if constexpr (PAIRS) {
          Vector even[E];
          transform(at, c, channels - c, [&even](int e, Vector v) { even[e] = v; });
          const auto store = [to, one, &even](int e, Vector v) {
            Store(to + e * one, Paired(even[e], v));
          };
          if (both)
            transform(next, c, channels - c, store);
          else
            for (int e = 0; e < E; ++e) store(e, Vector{});
        } else {
          transform(at, c, channels - c, [to, one](int e, Vector v) { Store(to + e * one, v); });
        }
      }
    }
  }

  // B' x and A dy of some of a block's tiles.
  static void BothByTiles(const Correlation& s, const T* x, const T* dy, const Block& block,
                          int64_t first, int64_t last) {
    x += block.group * s.channels();
    dy += block.group * s.features();
    ByTiles(
        block, first, last, block.groups * s.channels(), block.in,
        [&](int64_t t) { return OfInputs(s, x, t); },
        [&s](const Seen& at, int64_t c, int64_t rest, const auto& sink)
            __attribute__((always_inline)) { Input(s, at, c, rest, sink); });
    ByTiles(
        block, first, last, block.groups * s.features(), block.out,
        [&](int64_t t) { return OfCotangents(s, dy, t); },
        [&s](const Seen& at, int64_t d, int64_t rest, const auto& sink)
            __attribute__((always_inline)) { Cotangent(s, at, d, rest, sink); });
  }

  // y of a block: A' times (E, tiles, features of its groups).
  static void Outputs(const Correlation& s, const Block& block, T* y) {
    const int64_t features = block.groups * s.features(), depth = Apart(features);
    const int64_t row = s.out.row(), one = block.tiles() * depth;
    y += block.group * s.features();
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t rows = std::min<int64_t>(kTile, s.out.height - at.row);
      const int64_t columns = std::min<int64_t>(kTile, s.out.width - at.column);
      T* corner =
          y + (at.image * s.out.height + at.row) * row + at.column * s.out.channels;
      for (int64_t d = 0; d < features; d += kLanes) {
        const float* from = block.out + (t - block.first) * depth + d;
        Vector in[A], half[kTile * A], out[kTile];
#pragma GCC unroll 1
        for (int j = 0; j < A; ++j) {
#pragma GCC unroll 8
          for (int i = 0; i < A; ++i) in[i] = Load(from + (i * A + j) * one);
          Adjoint(M::kPowers, in, 1, half + j, A);
        }
        for (int i = 0; i < rows; ++i) {
          Adjoint(M::kPowers, half + i * A, 1, out, 1);
          for (int j = 0; j < columns; ++j)
            StoreFirst(corner + i * row + j * s.out.channels + d, out[j], features - d);
        }
      }
    }
  }
};

}  // namespace jcnn

// Correlations of each channel with a window of its own, a vector of channels at a time.
#pragma once

#include <algorithm>

#include "images.h"
#include "parallel.h"
#include "product.h"

namespace jcnn {

struct Depthwise {
  // Outputs beside each other that share each element of the window, and elements of a row of the
  // window whose sums share each cotangent.
  static constexpr int kAbreast = 8, kTaps = 5;
  // Shares of the lines for each core, so that none waits long for the last, and lines of a share.
  static constexpr int64_t kShares = 8, kTogether = 16;

  // The outputs of a row whose tap k is inside the image.
  struct Range {
    int64_t first, last;
  };

  static Range Inside(int64_t k, const Correlation& s) {
    const int64_t offset = k * s.dilation.right - s.before.right;  // of output 0
    const int64_t stride = s.strides.right, in = s.in.width, out = s.out.width;
    const auto steps = [stride](int64_t n) { return stride == 1 ? n : n / stride; };  // sooner
    const int64_t first = offset >= 0 ? 0 : steps(-offset + stride - 1);
    const int64_t last = offset >= in ? 0 : steps(in - 1 - offset) + 1;
    return {std::min(first, out), std::max(std::min(last, out), std::min(first, out))};
  }

  // y[m, c] = sum_k w[k, c] x[strides m + dilation k - before, c]. Neighbouring lines are one core's,
  // which reads the rows that they share once.
  static void Correlate(const Team& team, const Correlation& s, const Room&, const float* x,
                        const float* w, float*, float* y) {
    const int64_t lines = s.out.count * s.out.height, shares = kShares * team.workers;
    const int64_t each = std::clamp<int64_t>(lines / shares, 1, kTogether);
    Parallel(team, (lines + each - 1) / each, [&](int, int64_t number) {
      for (int64_t line = number * each; line < std::min(lines, (number + 1) * each); ++line)
        Line(s, line, x + line / s.out.height * s.in.whole(), w, y + line * s.out.row());
    });
  }

  // All channels of some outputs beside each other before the next: memory is read as it lies.
  static void Line(const Correlation& s, int64_t line, const float* image, const float* w, float* to) {
    const Range whole = {Inside(0, s).first, Inside(s.window.right - 1, s).last};
    const int64_t channels = s.in.channels;
    const int64_t top = s.top(line);
    for (int64_t m = 0, count; m < s.out.width; m += count) {
      const int64_t left = m * s.strides.right - s.before.right;
      const int64_t rest = m < whole.first ? 0 : whole.last - m;
      count = rest >= kAbreast ? kAbreast : rest >= kAbreast / 2 ? kAbreast / 2 : 1;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const float* from = image + left * channels + c;
        float* first = to + m * channels + c;
        if (rest < 1 || c + kLanes > channels)
          for (int64_t o = 0; o < count; ++o)
            Output(s, image, w, {top, left + o * s.strides.right}, c, first + o * channels);
        else if (count == kAbreast)
          Outputs<kAbreast>(s, from, w + c, top, first);
        else if (count == kAbreast / 2)
          Outputs<kAbreast / 2>(s, from, w + c, top, first);
        else
          Outputs<1>(s, from, w + c, top, first);
      }
    }
  }

  // Outputs beside each other, all of whose taps are within their rows.
  template <int COUNT>
  static void Outputs(const Correlation& s, const float* image, const float* w, int64_t top,
                      float* to) {
    const int64_t channels = s.in.channels, step = s.strides.right * channels;
    Vector sum[COUNT] = {};
    for (int64_t i = 0; i < s.window.down; ++i, w += s.window.right * channels) {
      const int64_t at = top + i * s.dilation.down;
      if (at < 0 || at >= s.in.height) continue;
      const float* from = image + at * s.in.row();
      for (int64_t j = 0; j < s.window.right; ++j, from += s.dilation.right * channels) {
        const Vector tap = Load(w + j * channels);
#pragma GCC unroll 8
        for (int o = 0; o < COUNT; ++o) sum[o] += tap * Load(from + o * step);
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < COUNT; ++o) Store(to + o * channels, sum[o]);
  }

  // An output at an edge, or of channels that fill no vector.
  static void Output(const Correlation& s, const float* image, const float* w, Pair first, int64_t c,
                     float* to) {
    const int64_t channels = s.in.channels, rest = channels - c;
    Vector sum = {};
    for (int64_t i = 0; i < s.window.down; ++i) {
      const int64_t at = first.down + i * s.dilation.down;
      if (at < 0 || at >= s.in.height) continue;
      for (int64_t j = 0; j < s.window.right; ++j) {
        const int64_t place = first.right + j * s.dilation.right;
        if (place < 0 || place >= s.in.width) continue;
        sum += LoadFirst(w + (i * s.window.right + j) * channels + c, rest) *
               LoadFirst(image + at * s.in.row() + place * channels + c, rest);
      }
    }
    StoreFirst(to, sum, rest);
  }

  // dw[k, c] = sum_m dy[m, c] x[strides m + dilation k - before, c]: each part of the images has
  // sums of its own, (parts, taps, channels up to whole vectors), added in one order.
  static void KernelGradient(const Team& team, const Correlation& s, const Room& room,
                             const float* x, const float* dy, float* sums, float* dw) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t lines = s.out.count * s.out.height, whole = s.taps() * deep;
    const int64_t parts = std::min(room.parts, lines);
    Parallel(team, parts, [&](int, int64_t part) {
      float* sum = sums + part * whole;
      std::fill_n(sum, whole, 0.0f);
      for (int64_t line = part * lines / parts; line < (part + 1) * lines / parts; ++line)
        AddLine(s, x, dy, line, sum);
    });
    Parallel(Needed(parts * whole, team), s.taps(), [&](int, int64_t k) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        Vector sum = Load(sums + k * deep + c);
        for (int64_t part = 1; part < parts; ++part) sum += Load(sums + part * whole + k * deep + c);
        StoreFirst(dw + k * channels + c, sum, channels - c);
      }
    });
  }

  static void AddLine(const Correlation& s, const float* x, const float* dy, int64_t line,
                      float* sum) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t top = s.top(line);
    for (int64_t i = 0; i < s.window.down; ++i) {
      const int64_t at = top + i * s.dilation.down;
      if (at < 0 || at >= s.in.height) continue;
      const float* row = x + line / s.out.height * s.in.whole() + at * s.in.row();
      const float* cotangents = dy + line * s.out.row();
      for (int64_t c = 0; c < channels; c += kLanes) {
        float* to = sum + i * s.window.right * deep + c;
        for (int64_t j = 0; j < s.window.right; j += kTaps)
          SomeTaps(s, s.window.right - j, row + c, cotangents + c, channels - c, j, to, deep);
      }
    }
  }

  // Up to kTaps taps of a row of the window, from first on.
  template <int COUNT = kTaps>
  static void SomeTaps(const Correlation& s, int64_t count, const float* row,
                       const float* cotangents, int64_t rest, int64_t first, float* to,
                       int64_t deep) {
    if (count >= COUNT)
      AddTaps<COUNT>(s, row, cotangents, rest, first, to, deep);
    else if constexpr (COUNT > 1)
      SomeTaps<COUNT - 1>(s, count, row, cotangents, rest, first, to, deep);
  }

  template <int COUNT>
  static void AddTaps(const Correlation& s, const float* row, const float* cotangents,
                      int64_t rest, int64_t first, float* to, int64_t deep) {
    const int64_t channels = s.in.channels, tap = s.dilation.right * channels;
    const int64_t step = s.strides.right * channels;
    const float* from = row + (first * s.dilation.right - s.before.right) * channels;
    Range all = {0, s.out.width}, any = {s.out.width, 0}, each[COUNT];
    Vector sum[COUNT];
    for (int k = 0; k < COUNT; ++k) {
      each[k] = Inside(first + k, s);
      all = {std::max(all.first, each[k].first), std::min(all.last, each[k].last)};
      any = {std::min(any.first, each[k].first), std::max(any.last, each[k].last)};
      sum[k] = Load(to + (first + k) * deep);
    }
    for (int64_t m = any.first; m < any.last;) {
      if (m == all.first && rest >= kLanes)
        for (; m < all.last; ++m) {  // every tap is within the row
          const Vector cotangent = Load(cotangents + m * channels);
#pragma GCC unroll 8
          for (int k = 0; k < COUNT; ++k) sum[k] += cotangent * Load(from + m * step + k * tap);
        }
      if (m >= any.last) break;
      const Vector cotangent = LoadFirst(cotangents + m * channels, rest);
      for (int k = 0; k < COUNT; ++k)
        if (m >= each[k].first && m < each[k].last)
          sum[k] += cotangent * LoadFirst(from + m * step + k * tap, rest);
      ++m;
    }
    for (int k = 0; k < COUNT; ++k) Store(to + (first + k) * deep, sum[k]);
  }
};

}  // namespace jcnn

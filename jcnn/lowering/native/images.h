// Where images, windows and outputs stand.
#pragma once

#include <algorithm>
#include <cstdint>

namespace jcnn {

struct Images {
  int64_t count, height, width, channels;

  int64_t row() const { return width * channels; }
  int64_t whole() const { return height * row(); }
};

struct Pair {
  int64_t down, right;
};

// Where results lie: every so many pixels of images from a first one on.
struct Grid {
  Images images;
  Pair first, every;

  int64_t right() const { return every.right * images.channels; }
  // Of line `line` of results, `lines` of which an image has.
  int64_t begin(int64_t line, int64_t lines) const {
    return line / lines * images.whole() + (first.down + line % lines * every.down) * images.row() +
           first.right * images.channels;
  }
};

// y[m] = sum_k w[k] x[strides m + dilation k - before], for each group of channels and of features.
struct Correlation {
  Images in, out;
  Pair window, strides, dilation, before;
  int64_t groups;
  Grid results = {out, {0, 0}, {1, 1}};

  int64_t taps() const { return window.down * window.right; }
  int64_t positions() const { return out.count * out.height * out.width; }
  // Pixels from the first that a window sees to the last, both included.
  Pair reach() const {
    return {(window.down - 1) * dilation.down + 1, (window.right - 1) * dilation.right + 1};
  }
  // The row of its image at which the windows of a line begin, lines counted through all images.
  int64_t top(int64_t line) const { return line % out.height * strides.down - before.down; }
  // Where a line of results begins.
  int64_t begin(int64_t line) const { return results.begin(line, out.height); }
  // Of a group.
  int64_t channels() const { return in.channels / groups; }
  int64_t features() const { return out.channels / groups; }
  int64_t terms() const { return taps() * channels(); }
  // Multiply-adds, and sixteen of them for an element that is read or written.
  int64_t work() const {
    return positions() * terms() * out.channels +
           16 * (in.count * in.whole() + positions() * out.channels);
  }
};

// Elements i of a window, first to last - 1, that stand within `size` where its first is at `at`.
struct Within {
  int64_t first, last;

  Within(int64_t at, int64_t window, int64_t dilation, int64_t size)
      : first(std::min(at >= 0 ? 0 : (-at + dilation - 1) / dilation, window)),
        last(std::max(first, at >= size ? 0 : std::min((size - 1 - at) / dilation + 1, window))) {}
};

}  // namespace jcnn

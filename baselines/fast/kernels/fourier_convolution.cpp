// The first convolutions of Hadamax, 8 x 8 over four frames at stride 1, by Fourier transforms, and the gradients of
// their weights. A sum over 64 pixels of a window becomes one product a frequency: about a sixth of the arithmetic.
//
// An image is cut into tiles of 24 x 24 pixels, which give 17 x 17 outputs each (overlap-save). Images are [B, H, W, 4],
// outputs [B, H - 7, W - 7, C], float or bfloat16; all arithmetic is float. Two output channels share one complex
// transform, one as its real and one as its imaginary part; the lanes of a vector are such pairs. With
//
//   X = sum_n x[n] exp(-iwn) of a tile,   V = sum_k w[k] exp(+iwk),   Q = sum_p q[p] exp(+iwp) of an output's gradient,
//
// outputs are the sums of X V exp(+iwp), and weight gradients those of X Q exp(+iwk), over all w, divided by 24 * 24.
//
// Work is divided by tiles, never by threads, so that results do not depend on the number of threads.

#include "transforms.h"

namespace {

constexpr int N = 24, K = 8, VALID = N - K + 1;
constexpr int HALF = N / 2 + 1;  // columns of a real image's transform; the others are their conjugates
constexpr float SCALE = 1.0f / (N * N);
constexpr int FRAMES = 4;
constexpr int TILES = 8;  // that are worked at together: weights are read once for all of them
constexpr int CHUNK = 8;  // groups of tiles that add their weight gradients up before others are added to them

// Tiles ---------------------------------------------------------------------------------------------------------------

struct Shape {
  int64_t images, height, width;  // of what is convolved
  int64_t channels;               // of one branch's output, a multiple of 2 * W
  int64_t branches;
  int64_t out_height() const { return height - K + 1; }
  int64_t out_width() const { return width - K + 1; }
  int64_t across() const { return (out_width() + VALID - 1) / VALID; }
  int64_t down() const { return (out_height() + VALID - 1) / VALID; }
  int64_t tiles() const { return images * across() * down(); }
  int64_t groups() const { return (tiles() + TILES - 1) / TILES; }
  int64_t blocks() const { return channels / (2 * W); }  // of 2 * W channels, a pair a lane
};

struct Tile {
  int64_t image, top, left;
  Tile(const Shape& s, int64_t number)
      : image(number / (s.across() * s.down())),
        top(number / s.across() % s.down() * VALID),
        left(number % s.across() * VALID) {}
};

// Of a group of tiles: frequencies [column][row], then the tiles' frames.
struct Spectra {
  float re[N][N][TILES * FRAMES], im[N][N][TILES * FRAMES];
};

// Of a block of channels: frequencies [column][row], then frames.
struct Weights {
  Complex at[N][N][FRAMES];
};

struct Scratch {
  Spectra images;
  Complex rows[TILES * VALID * N];
  Complex column[TILES][N];
};

template <class T>
inline void add_pixel(const Shape& s, const T* images, const Tile& tile, int y, int x, float* to) {
  const int64_t row = tile.top + y, at = tile.left + x;
  if (row >= s.height || at >= s.width) return;
  const T* pixel = images + ((tile.image * s.height + row) * s.width + at) * FRAMES;
  if constexpr (sizeof(T) == sizeof(float)) {
    std::memcpy(to, pixel, FRAMES * sizeof(float));
  } else {
    for (int f = 0; f < FRAMES; f++) {
      const uint32_t word = uint32_t(pixel[f].bits) << 16;
      std::memcpy(to + f, &word, sizeof word);
    }
  }
}

template <class T>
void transform_tiles(const Shape& s, const T* images, int64_t first, int64_t count, Scratch& scratch) {
  constexpr int TOGETHER = W / FRAMES;  // tiles in a vector
  Complex* half = scratch.rows;         // [row][column < HALF]
  for (int64_t v = 0; v < TILES / TOGETHER; v++) {
    std::vector<Tile> tiles;
    for (int64_t t = v * TOGETHER; t < std::min<int64_t>(count, (v + 1) * TOGETHER); t++)
      tiles.emplace_back(s, first + t);
    for (int y = 0; y < N; y++)
      transform<N, -1, HALF>(
          [&](int x) {
            float values[W] = {};
            for (size_t t = 0; t < tiles.size(); t++) add_pixel(s, images, tiles[t], y, x, values + t * FRAMES);
            return Complex{load(values), Floats{}};
          },
          [&](int k, Complex value) { half[y * HALF + k] = value; });
    for (int kx = 0; kx < HALF; kx++)
      transform<N, -1, N>([&](int y) { return half[y * HALF + kx]; },
                          [&](int ky, Complex value) {
                            store(&scratch.images.re[kx][ky][v * W], value.re);
                            store(&scratch.images.im[kx][ky][v * W], value.im);
                            if (kx > 0 && kx < N - kx) {
                              store(&scratch.images.re[N - kx][(N - ky) % N][v * W], value.re);
                              store(&scratch.images.im[N - kx][(N - ky) % N][v * W], -value.im);
                            }
                          });
  }
}

// Forward -------------------------------------------------------------------------------------------------------------

// weights: [C, 4, 8, 8] of a branch
void transform_weights(const float* weights, int64_t block, int frame, Weights& to) {
  Complex rows[K][N];
  for (int y = 0; y < K; y++)
    transform<N, 1, N>(
        [&](int x) {
          Complex pairs{};
          if (x >= K) return pairs;
          for (int lane = 0; lane < W; lane++) {
            const float* at = weights + (((block * 2 * W + lane) * FRAMES + frame) * K + y) * K + x;
            pairs.re[lane] = at[0] * SCALE;
            pairs.im[lane] = at[W * FRAMES * K * K] * SCALE;
          }
          return pairs;
        },
        [&](int k, Complex value) { rows[y][k] = value; });
  for (int kx = 0; kx < N; kx++)
    transform<N, 1, N>([&](int y) { return y < K ? rows[y][kx] : Complex{}; },
                       [&](int ky, Complex value) { to.at[kx][ky][frame] = value; });
}

template <class T>
void forward_block(const Shape& s, const Weights& weights, const float* bias, int64_t block, int64_t first,
                   int64_t count, Scratch& scratch, T* out) {
  Complex* rows = scratch.rows;  // [tile][row][column]
  for (int kx = 0; kx < N; kx++) {
    for (int ky = 0; ky < N; ky++) {
      const Complex* w = weights.at[kx][ky];
      const Complex w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
      const float *re = scratch.images.re[kx][ky], *im = scratch.images.im[kx][ky];
      for (int64_t t = 0; t < count; t++, re += FRAMES, im += FRAMES)
        scratch.column[t][ky] = {
            re[0] * w0.re - im[0] * w0.im + re[1] * w1.re - im[1] * w1.im + re[2] * w2.re - im[2] * w2.im +
                re[3] * w3.re - im[3] * w3.im,
            re[0] * w0.im + im[0] * w0.re + re[1] * w1.im + im[1] * w1.re + re[2] * w2.im + im[2] * w2.re +
                re[3] * w3.im + im[3] * w3.re,
        };
    }
    for (int64_t t = 0; t < count; t++)
      transform<N, 1, VALID>([&](int ky) { return scratch.column[t][ky]; },
                             [&](int y, Complex value) { rows[(t * VALID + y) * N + kx] = value; });
  }
  const int64_t C = s.channels, channel = block * 2 * W;
  const Floats bias_re = load(bias + channel), bias_im = load(bias + channel + W);
  for (int64_t t = 0; t < count; t++) {
    const Tile tile(s, first + t);
    const int64_t wide = s.out_width() - tile.left;
    for (int y = 0; y < std::min<int64_t>(VALID, s.out_height() - tile.top); y++) {
      T* to = out + ((tile.image * s.out_height() + tile.top + y) * s.out_width() + tile.left) * C + channel;
      const Complex* row = rows + (t * VALID + y) * N;
      transform<N, 1, VALID>([&](int kx) { return row[kx]; },
                             [&](int x, Complex value) {
                               if (x >= wide) return;
                               store(to + x * C, value.re + bias_re);
                               store(to + x * C + W, value.im + bias_im);
                             });
    }
  }
}

template <class T>
void forward(const Shape& s, const T* images, const float* const* weights, const float* const* biases,
             T* const* outs, int threads) {
  const int64_t blocks = s.blocks();
  std::unique_ptr<Weights[]> spectra(new Weights[s.branches * blocks]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::unique_ptr<Scratch> scratch(new Scratch);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < s.branches * blocks * FRAMES; i++)
      transform_weights(weights[i / FRAMES / blocks], i / FRAMES % blocks, i % FRAMES, spectra[i / FRAMES]);
#pragma omp for schedule(static)
    for (int64_t group = 0; group < s.groups(); group++) {
      const int64_t first = group * TILES, count = std::min<int64_t>(TILES, s.tiles() - first);
      transform_tiles(s, images, first, count, *scratch);
      for (int64_t i = 0; i < s.branches * blocks; i++)
        forward_block(s, spectra[i], biases[i / blocks], i % blocks, first, count, *scratch, outs[i / blocks]);
    }
  }
}

// Backward ------------------------------------------------------------------------------------------------------------

// Adds a group's part of the weights' gradient, as frequencies, and of the bias's.
template <class T>
void backward_block(const Shape& s, const T* gradient, int64_t block, int64_t first, int64_t count, Scratch& scratch,
                    Weights& sums, Complex& bias_sum) {
  Complex* rows = scratch.rows;  // [tile][column][row]
  const int64_t C = s.channels, channel = block * 2 * W;
  for (int64_t t = 0; t < count; t++) {
    const Tile tile(s, first + t);
    const int64_t wide = s.out_width() - tile.left;
    for (int y = 0; y < VALID; y++) {
      Complex* to = rows + t * N * VALID + y;
      if (tile.top + y >= s.out_height()) {
        for (int kx = 0; kx < N; kx++) to[kx * VALID] = Complex{};
        continue;
      }
      const T* from = gradient + ((tile.image * s.out_height() + tile.top + y) * s.out_width() + tile.left) * C + channel;
      transform<N, 1, N>(
          [&](int x) {
            return x < VALID && x < wide ? Complex{load(from + x * C), load(from + x * C + W)} : Complex{};
          },
          [&](int kx, Complex value) { to[kx * VALID] = value; });
    }
  }
  for (int kx = 0; kx < N; kx++) {
    for (int64_t t = 0; t < count; t++)
      transform<N, 1, N>([&](int y) { return y < VALID ? rows[(t * N + kx) * VALID + y] : Complex{}; },
                         [&](int ky, Complex value) { scratch.column[t][ky] = value; });
    if (kx == 0)
      for (int64_t t = 0; t < count; t++) bias_sum = bias_sum + scratch.column[t][0];
    for (int ky = 0; ky < N; ky++) {
      Complex* sum = sums.at[kx][ky];
      Complex s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
      const float *re = scratch.images.re[kx][ky], *im = scratch.images.im[kx][ky];
      for (int64_t t = 0; t < count; t++, re += FRAMES, im += FRAMES) {
        const Complex q = scratch.column[t][ky];
        s0 = {s0.re + re[0] * q.re - im[0] * q.im, s0.im + re[0] * q.im + im[0] * q.re};
        s1 = {s1.re + re[1] * q.re - im[1] * q.im, s1.im + re[1] * q.im + im[1] * q.re};
        s2 = {s2.re + re[2] * q.re - im[2] * q.im, s2.im + re[2] * q.im + im[2] * q.re};
        s3 = {s3.re + re[3] * q.re - im[3] * q.im, s3.im + re[3] * q.im + im[3] * q.re};
      }
      sum[0] = s0;
      sum[1] = s1;
      sum[2] = s2;
      sum[3] = s3;
    }
  }
}

// From frequencies to the gradient [C, 4, 8, 8] of a branch's weights.
void weights_from(const Weights& sums, int64_t block, int frame, float* to) {
  Complex rows[K][N];
  for (int kx = 0; kx < N; kx++)
    transform<N, 1, K>([&](int ky) { return sums.at[kx][ky][frame]; },
                       [&](int y, Complex value) { rows[y][kx] = value; });
  for (int y = 0; y < K; y++)
    transform<N, 1, K>([&](int kx) { return rows[y][kx]; },
                       [&](int x, Complex value) {
                         for (int lane = 0; lane < W; lane++) {
                           float* at = to + (((block * 2 * W + lane) * FRAMES + frame) * K + y) * K + x;
                           at[0] = value.re[lane] * SCALE;
                           at[W * FRAMES * K * K] = value.im[lane] * SCALE;
                         }
                       });
}

template <class T>
void backward(const Shape& s, const T* images, const T* const* gradients, float* const* weights, float* const* biases,
              int threads) {
  const int64_t blocks = s.blocks(), all = s.branches * blocks, chunks = (s.groups() + CHUNK - 1) / CHUNK;
  std::unique_ptr<Weights[]> sums(new Weights[chunks * all]);
  std::unique_ptr<Complex[]> bias_sums(new Complex[chunks * all]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::unique_ptr<Scratch> scratch(new Scratch);
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      std::memset((void*)&sums[chunk * all], 0, all * sizeof(Weights));
      std::memset((void*)&bias_sums[chunk * all], 0, all * sizeof(Complex));
      for (int64_t group = chunk * CHUNK; group < std::min(s.groups(), (chunk + 1) * CHUNK); group++) {
        const int64_t first = group * TILES, count = std::min<int64_t>(TILES, s.tiles() - first);
        transform_tiles(s, images, first, count, *scratch);
        for (int64_t i = 0; i < all; i++)
          backward_block(s, gradients[i / blocks], i % blocks, first, count, *scratch, sums[chunk * all + i],
                         bias_sums[chunk * all + i]);
      }
    }
#pragma omp for schedule(static)
    for (int64_t column = 0; column < all * N; column++) {
      const int64_t i = column / N, kx = column % N;
      float* to = (float*)sums[i].at[kx];
      for (int64_t chunk = 1; chunk < chunks; chunk++) {
        const float* from = (const float*)sums[chunk * all + i].at[kx];
        for (size_t j = 0; j < sizeof(sums[i].at[kx]) / sizeof(float); j++) to[j] += from[j];
      }
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < all * FRAMES; i++)
      weights_from(sums[i / FRAMES], i / FRAMES % blocks, i % FRAMES, weights[i / FRAMES / blocks]);
  }
  add_up_biases(bias_sums.get(), chunks, all, blocks, biases);
}

}  // namespace

// shape: images, height, width, channels of a branch, branches. Pointers a branch: weights [C, 4, 8, 8] and biases [C]
// float; outputs and their gradients [B, H - 7, W - 7, C] in the type of the images.
extern "C" {

void fourier_forward(const int64_t* shape, int coarse, int threads, const void* images, const float* const* weights,
                     const float* const* biases, void* const* outs) {
  const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4]};
  if (coarse)
    forward(s, (const BFloat16*)images, weights, biases, (BFloat16* const*)outs, threads);
  else
    forward(s, (const float*)images, weights, biases, (float* const*)outs, threads);
}

void fourier_backward(const int64_t* shape, int coarse, int threads, const void* images,
                      const void* const* gradients, float* const* weights, float* const* biases) {
  const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4]};
  if (coarse)
    backward(s, (const BFloat16*)images, (const BFloat16* const*)gradients, weights, biases, threads);
  else
    backward(s, (const float*)images, (const float* const*)gradients, weights, biases, threads);
}
}

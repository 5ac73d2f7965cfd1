// Turns a table: an array of structures into a structure of arrays, or back,
// near the bandwidth of the memory. A block of threads moves tiles of some
// rows, through shared memory: structures come and go in pieces of 16 bytes,
// side by side, and so do the elements of each array. table_kernel.ptx beside
// this is made of it by ../make_table_kernel.py; _table_kernel.py launches it.
//
//   structures, arrays  both at a multiple of 16
//   tile_rows           a multiple of 16, so that tiles begin at such, too
//   pad                 bytes between the rows of a tile: 0, or 16 where else
//                       threads side by side would wait for the same bank
//   to_arrays           1, or 0 for the other way
//   fields              `count` of them; more than fit go by another way
//
// Shared memory: tile_rows * (row_bytes + pad). The padding of structures is
// not defined afterwards.

struct Field {
  unsigned long long column;
  unsigned offset;
  unsigned size;
};
struct Fields {
  Field f[200];
};

// Four rows of a lane, 32 apart, up to `rows`.
template <typename T>
static __device__ __forceinline__ void Move(char* to, unsigned to_step,
                                            const char* from,
                                            unsigned from_step, unsigned row,
                                            unsigned rows) {
  T value[4];
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    if (row + 32 * i < rows) value[i] = *(const T*)(from + 32 * i * from_step);
  }
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    if (row + 32 * i < rows) *(T*)(to + 32 * i * to_step) = value[i];
  }
}

extern "C" __global__ void vrampool_turn_table(
    char* structures, char* arrays, unsigned long long rows, unsigned row_bytes,
    unsigned tile_rows, unsigned pad, unsigned to_arrays, unsigned count,
    const __grid_constant__ Fields fields) {
  extern __shared__ __align__(16) char tile[];
  const unsigned stride = row_bytes + pad;
  const unsigned lane = threadIdx.x & 31;
  const unsigned warp = threadIdx.x >> 5;
  const unsigned warps = blockDim.x >> 5;
  unsigned long long first = (unsigned long long)blockIdx.x * tile_rows;
#pragma unroll 1
  for (; first < rows; first += (unsigned long long)gridDim.x * tile_rows) {
    const unsigned here =
        rows - first < tile_rows ? (unsigned)(rows - first) : tile_rows;
    const unsigned bytes = here * row_bytes;
    char* const place = structures + first * row_bytes;
    const unsigned chunks = (here + 127) >> 7;
    // Both ways have the same steps, in the other order.
#pragma unroll 1
    for (unsigned step = 0; step < 2; ++step) {
      if (step == to_arrays) {
        // The fields, between arrays and tile.
#pragma unroll 1
        for (unsigned c = warp; c < count * chunks; c += warps) {
          const Field& field = fields.f[c / chunks];
          const unsigned row = (c % chunks) * 128 + lane;
          const unsigned size = field.size;
          char* const one = tile + row * stride + field.offset;
          char* const other = arrays + field.column + (first + row) * size;
          char* const to = to_arrays ? other : one;
          const char* const from = to_arrays ? one : other;
          const unsigned to_step = to_arrays ? size : stride;
          const unsigned from_step = to_arrays ? stride : size;
          switch (size) {
            case 1:
              Move<char>(to, to_step, from, from_step, row, here);
              break;
            case 2:
              Move<short>(to, to_step, from, from_step, row, here);
              break;
            case 4:
              Move<int>(to, to_step, from, from_step, row, here);
              break;
            case 8:
              Move<long long>(to, to_step, from, from_step, row, here);
              break;
            default:
              Move<int4>(to, to_step, from, from_step, row, here);
              break;
          }
        }
      } else {
        // The structures, between tile and memory.
#pragma unroll 1
        for (unsigned b = threadIdx.x * 16; b + 16 <= bytes;
             b += blockDim.x * 16) {
          char* const one = tile + b + (pad ? b / row_bytes * pad : 0);
          *(int4*)(to_arrays ? one : place + b) =
              *(const int4*)(to_arrays ? place + b : one);
        }
#pragma unroll 1
        for (unsigned b = (bytes & ~15u) + threadIdx.x; b < bytes;
             b += blockDim.x) {
          (to_arrays ? tile : place)[b] = (to_arrays ? place : tile)[b];
        }
      }
      __syncthreads();
    }
  }
}

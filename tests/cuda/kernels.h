// kernels.h - the kernels that checks and the demo run on a GPU, as PTX.
//
// Text and not a compiled module, so that nothing here needs a CUDA toolkit:
// the driver compiles it when it is loaded. All take 32-bit words and are
// launched with any number of blocks and threads, unless they say otherwise.
//
//   vrampool_spin(u64 ns)
//       Keeps one thread busy for so long. One block of one thread.
//   vrampool_fill(u64 to, u64 words, u32 first, u32 step)
//       word i = first + i * step.
//   vrampool_fill_until(u64 to, u64 words, u32 value, u64 stop)
//       Writes `value` to all words again and again until the 32-bit word at
//       `stop` is not zero.
//   vrampool_mismatches(u64 from, u64 words, u32 first, u32 step, u64 count)
//       Adds to the 64-bit word at `count` how many words are not as
//       vrampool_fill() leaves them.
//   vrampool_checksum(u64 from, u64 words, u64 sum)
//       Adds to the 64-bit word at `sum` the sum of word i * (i + 1), modulo
//       2^64: each word and its place matter.

#ifndef VRAMPOOL_TESTS_CUDA_KERNELS_H_
#define VRAMPOOL_TESTS_CUDA_KERNELS_H_

namespace vrampool::testing {

inline constexpr char kKernels[] = R"ptx(
.version 7.0
.target sm_70
.address_size 64

.visible .entry vrampool_spin(.param .u64 ns)
{
  .reg .u64 %limit, %begin, %now;
  .reg .pred %more;
  ld.param.u64 %limit, [ns];
  mov.u64 %begin, %globaltimer;
AGAIN:
  mov.u64 %now, %globaltimer;
  sub.u64 %now, %now, %begin;
  setp.lt.u64 %more, %now, %limit;
  @%more bra AGAIN;
  ret;
}

.visible .entry vrampool_fill(.param .u64 to, .param .u64 words,
                              .param .u32 first, .param .u32 step)
{
  .reg .u64 %at, %end, %i, %stride, %place;
  .reg .u32 %a, %b, %c, %value, %start, %delta;
  .reg .pred %done;
  ld.param.u64 %at, [to];
  ld.param.u64 %end, [words];
  ld.param.u32 %start, [first];
  ld.param.u32 %delta, [step];
  cvta.to.global.u64 %at, %at;
  mov.u32 %a, %ctaid.x;
  mov.u32 %b, %ntid.x;
  mov.u32 %c, %tid.x;
  mad.lo.u32 %c, %a, %b, %c;
  cvt.u64.u32 %i, %c;
  mov.u32 %a, %nctaid.x;
  mul.wide.u32 %stride, %a, %b;
LOOP:
  setp.ge.u64 %done, %i, %end;
  @%done bra OUT;
  cvt.u32.u64 %value, %i;
  mad.lo.u32 %value, %value, %delta, %start;
  shl.b64 %place, %i, 2;
  add.u64 %place, %at, %place;
  st.global.u32 [%place], %value;
  add.u64 %i, %i, %stride;
  bra LOOP;
OUT:
  ret;
}

.visible .entry vrampool_fill_until(.param .u64 to, .param .u64 words,
                                    .param .u32 value, .param .u64 stop)
{
  .reg .u64 %at, %end, %i, %stride, %place, %flag, %first;
  .reg .u32 %a, %b, %c, %what, %seen;
  .reg .pred %done;
  ld.param.u64 %at, [to];
  ld.param.u64 %end, [words];
  ld.param.u32 %what, [value];
  ld.param.u64 %flag, [stop];
  cvta.to.global.u64 %at, %at;
  cvta.to.global.u64 %flag, %flag;
  mov.u32 %a, %ctaid.x;
  mov.u32 %b, %ntid.x;
  mov.u32 %c, %tid.x;
  mad.lo.u32 %c, %a, %b, %c;
  cvt.u64.u32 %first, %c;
  mov.u32 %a, %nctaid.x;
  mul.wide.u32 %stride, %a, %b;
ROUND:
  mov.u64 %i, %first;
LOOP:
  setp.ge.u64 %done, %i, %end;
  @%done bra LOOK;
  shl.b64 %place, %i, 2;
  add.u64 %place, %at, %place;
  st.volatile.global.u32 [%place], %what;
  add.u64 %i, %i, %stride;
  bra LOOP;
LOOK:
  ld.volatile.global.u32 %seen, [%flag];
  setp.eq.u32 %done, %seen, 0;
  @%done bra ROUND;
  ret;
}

.visible .entry vrampool_mismatches(.param .u64 from, .param .u64 words,
                                    .param .u32 first, .param .u32 step,
                                    .param .u64 count)
{
  .reg .u64 %at, %end, %i, %stride, %place, %out, %sum;
  .reg .u32 %a, %b, %c, %value, %seen, %start, %delta;
  .reg .pred %done, %same;
  ld.param.u64 %at, [from];
  ld.param.u64 %end, [words];
  ld.param.u32 %start, [first];
  ld.param.u32 %delta, [step];
  ld.param.u64 %out, [count];
  cvta.to.global.u64 %at, %at;
  cvta.to.global.u64 %out, %out;
  mov.u32 %a, %ctaid.x;
  mov.u32 %b, %ntid.x;
  mov.u32 %c, %tid.x;
  mad.lo.u32 %c, %a, %b, %c;
  cvt.u64.u32 %i, %c;
  mov.u32 %a, %nctaid.x;
  mul.wide.u32 %stride, %a, %b;
  mov.u64 %sum, 0;
LOOP:
  setp.ge.u64 %done, %i, %end;
  @%done bra OUT;
  cvt.u32.u64 %value, %i;
  mad.lo.u32 %value, %value, %delta, %start;
  shl.b64 %place, %i, 2;
  add.u64 %place, %at, %place;
  ld.volatile.global.u32 %seen, [%place];
  setp.eq.u32 %same, %seen, %value;
  @%same bra NEXT;
  add.u64 %sum, %sum, 1;
NEXT:
  add.u64 %i, %i, %stride;
  bra LOOP;
OUT:
  setp.eq.u64 %done, %sum, 0;
  @%done bra END;
  red.global.add.u64 [%out], %sum;
END:
  ret;
}

.visible .entry vrampool_checksum(.param .u64 from, .param .u64 words,
                                  .param .u64 sum)
{
  .reg .u64 %at, %end, %i, %stride, %place, %out, %total, %weight, %wide;
  .reg .u32 %a, %b, %c, %seen;
  .reg .pred %done;
  ld.param.u64 %at, [from];
  ld.param.u64 %end, [words];
  ld.param.u64 %out, [sum];
  cvta.to.global.u64 %at, %at;
  cvta.to.global.u64 %out, %out;
  mov.u32 %a, %ctaid.x;
  mov.u32 %b, %ntid.x;
  mov.u32 %c, %tid.x;
  mad.lo.u32 %c, %a, %b, %c;
  cvt.u64.u32 %i, %c;
  mov.u32 %a, %nctaid.x;
  mul.wide.u32 %stride, %a, %b;
  mov.u64 %total, 0;
LOOP:
  setp.ge.u64 %done, %i, %end;
  @%done bra OUT;
  shl.b64 %place, %i, 2;
  add.u64 %place, %at, %place;
  ld.volatile.global.u32 %seen, [%place];
  cvt.u64.u32 %wide, %seen;
  add.u64 %weight, %i, 1;
  mad.lo.u64 %total, %wide, %weight, %total;
  add.u64 %i, %i, %stride;
  bra LOOP;
OUT:
  red.global.add.u64 [%out], %total;
  ret;
}
)ptx";

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_KERNELS_H_

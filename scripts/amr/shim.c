// How the decoder of speech is called: a frame goes into in, its 160 samples come out of out.
#include <stdint.h>
#include "sp_dec.h"
#include "amrdecode.h"

static uint8_t in[64];
static int16_t out[160];
static void *state;

__attribute__((export_name("in"))) uint8_t *in_at(void) { return in; }
__attribute__((export_name("out"))) int16_t *out_at(void) { return out; }

// start begins a voice; it is 0 when it can.
__attribute__((export_name("start"))) int start(void) { return GSMInitDecode(&state, (int8 *)"Decoder"); }

// frame decodes what is in in; it is negative when it cannot.
__attribute__((export_name("frame"))) int frame(void) {
  return AMRDecode(state, (enum Frame_Type_3GPP)((in[0] >> 3) & 0x0f), in + 1, out, MIME_IETF);
}

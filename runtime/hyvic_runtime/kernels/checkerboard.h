/* Anchor and non-anchor positions of a plane: what checkerboard.py defines. */

#ifndef HYVIC_CHECKERBOARD_H
#define HYVIC_CHECKERBOARD_H

#include <stddef.h>

/* Every other sample of a line is an anchor, of even lines from the first sample on. */
static inline size_t first_sample(size_t non_anchor, size_t line) { return (line + non_anchor) & 1; }

static inline size_t count_of_line(size_t non_anchor, size_t line, size_t samples)
{
    return (samples + 1 - first_sample(non_anchor, line)) / 2;
}

#endif

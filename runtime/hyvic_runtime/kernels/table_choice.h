/* The frequency table that codes a coefficient, and the offset of its symbol: what table_choice.py defines. */

#ifndef HYVIC_TABLE_CHOICE_H
#define HYVIC_TABLE_CHOICE_H

#include <stdint.h>

#define SCALES 64
#define FRACTIONS 8
#define MEAN_STEP_BITS 3
#define MEAN_SHIFT 5 /* GAIN_STEP_BITS + PREDICTION_STEP_BITS - MEAN_STEP_BITS */
#define MAX_GAIN 16
#define MAX_MEAN_STEPS 1023

/* Arithmetic is unsigned where outputs that no valid network gives would overflow. */
static inline void choose_table(int32_t scale_index, int32_t mean_steps, int32_t gain, float prediction, int32_t *table,
                                int32_t *offset)
{
    const uint32_t product = (uint32_t)gain * (uint32_t)(int32_t)prediction;
    const int32_t rounded = (int32_t)(product + (1u << (MEAN_SHIFT - 1))) >> MEAN_SHIFT;
    const int32_t mean = (int32_t)((uint32_t)mean_steps + (uint32_t)rounded);
    *table = (int32_t)((uint32_t)(mean & (FRACTIONS - 1)) * SCALES + (uint32_t)scale_index);
    *offset = mean >> MEAN_STEP_BITS;
}

#endif

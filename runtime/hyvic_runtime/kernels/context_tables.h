/* From contexts to the tables of coefficients: contexts are made for as many positions as the nearest cache holds, and the
 * network runs on them while they are there.
 */

#ifndef HYVIC_CONTEXT_TABLES_H
#define HYVIC_CONTEXT_TABLES_H

#include "context_entries.h" /* first: it includes Python.h */

#include "context_network.h"
#include "table_choice.h"

#define AT_ONCE 128 /* positions whose contexts the nearest cache holds */

typedef struct {
    RunLayer *run;
    size_t count, widest; /* layers; rows of the widest */
    Layer layers[MAX_LAYERS];
} Network;

/* Memory of one call; planes hold `capacity` positions. */
typedef struct {
    size_t capacity;
    int32_t *inputs, *channels[2]; /* pairs of channels: the network's inputs; a layer's inputs and outputs */
    float *contexts, *predicted;
    Row *first;                    /* the first layer's rows, with a component's constant entries in their biases */
    void *memory;
} Scratch;

static size_t rounded_up(size_t count) { return (count + POSITIONS_AT_ONCE - 1) / POSITIONS_AT_ONCE * POSITIONS_AT_ONCE; }

/* Allocate scratch for lines of so many positions; false, with an error set, if memory is short. */
static int scratch_for(const Network *network, size_t positions, Scratch *scratch)
{
    const size_t capacity = rounded_up(positions < AT_ONCE ? AT_ONCE : positions);
    const size_t inputs = (ENTRIES + 1) / 2 * capacity, channels = network->widest / 2 * capacity;
    const size_t words = inputs + 2 * channels + (ENTRIES + 1) * capacity;
    const size_t octets = words * sizeof(int32_t) + network->layers[0].rows * sizeof(Row);
    int32_t *next = scratch->memory = allocated(octets + 64);
    if (next == NULL)
        return 0;
    memset(next, 0, octets + 64);
    next = (int32_t *)(((uintptr_t)next + 63) & ~(uintptr_t)63); /* instructions load 64 octets at once */
    scratch->capacity = capacity;
    scratch->inputs = next, next += inputs;
    scratch->channels[0] = next, next += channels;
    scratch->channels[1] = next, next += channels;
    scratch->contexts = (float *)next, next += ENTRIES * capacity;
    scratch->predicted = (float *)next, next += capacity;
    scratch->first = (Row *)next;
    return 1;
}

FAST static void pair_entries(const float *contexts, size_t capacity, size_t entries, size_t positions, int32_t *inputs)
{
    for (size_t e = 0; e < entries; e += 2, inputs += capacity, contexts += 2 * capacity) {
        const float *first = contexts, *second = e + 1 < entries ? contexts + capacity : NULL;
        for (size_t j = 0; j < positions; j++)
            inputs[j] = paired((int32_t)first[j], second ? (int32_t)second[j] : 0);
    }
}

/* Return OUTPUT_PAIRS of channels for the first entries of the scratch's contexts; the other entries are zero or in the
 * first layer's biases. */
static const int32_t *run_network(const Network *network, const Row *first, size_t entries, size_t positions,
                                  const Scratch *scratch)
{
    const size_t padded = rounded_up(positions);
    pair_entries(scratch->contexts, scratch->capacity, entries, padded, scratch->inputs);
    Layer layer = network->layers[0];
    layer.pairs = (entries + 1) / 2, layer.row = first;
    network->run(&layer, scratch->inputs, scratch->channels[0], scratch->capacity, padded);
    for (size_t i = 1; i < network->count; i++)
        network->run(&network->layers[i], scratch->channels[(i - 1) % 2], scratch->channels[i % 2], scratch->capacity,
                     padded);
    return scratch->channels[(network->count - 1) % 2];
}

/* Fill in outputs (output, position) of contexts (entry, position). */
static void evaluate_contexts(const Network *network, const float *contexts, size_t positions, int32_t *outputs,
                              const Scratch *scratch)
{
    for (size_t begin = 0; begin < positions; begin += scratch->capacity) {
        const size_t count = positions - begin < scratch->capacity ? positions - begin : scratch->capacity;
        for (size_t e = 0; e < ENTRIES; e++)
            memcpy(scratch->contexts + e * scratch->capacity, contexts + e * positions + begin, count * sizeof *contexts);
        const int32_t *found = run_network(network, network->layers[0].row, ENTRIES, count, scratch);
        for (size_t j = 0; j < count; j++, found++) {
            outputs[begin + j] = first_of(found[0]);
            outputs[positions + begin + j] = second_of(found[0]);
            outputs[2 * positions + begin + j] = first_of(found[scratch->capacity]);
        }
    }
}

/* Fill in tables and offsets (component, position) of a block. */
static void choose_tables(const Network *network, const Block *of, int32_t *tables, int32_t *offsets,
                          const Scratch *scratch)
{
    const Layer *layer = &network->layers[0];
    const size_t entries = of->non_anchor ? VARYING : EARLIER + 2 * of->orientation; /* the others are zero */
    for (size_t c = of->first; c < of->last; c++) {
        float constants[ENTRIES - VARYING + 1] = {0};
        describe_component(of, c, constants);
        memcpy(scratch->first, layer->row, layer->rows * sizeof(Row));
        for (size_t e = VARYING; e < ENTRIES; e += 2)
            for (size_t row = 0; row < layer->rows; row++) {
                const int32_t weight = layer->weights[e / 2 * layer->rows + row];
                scratch->first[row].bias += first_of(weight) * (int32_t)constants[e - VARYING] +
                                            second_of(weight) * (int32_t)constants[e + 1 - VARYING];
            }
        for (size_t l = of->begin, waiting = 0; l < of->end; l++) {
            describe_line(of, c, l, scratch->contexts + waiting, scratch->capacity, scratch->predicted + waiting);
            waiting += positions_of_line(of, l);
            if (l + 1 < of->end && waiting + positions_of_line(of, l + 1) <= scratch->capacity)
                continue;
            const int32_t *found = run_network(network, scratch->first, entries, waiting, scratch);
            for (size_t j = 0; j < waiting; j++, found++)
                choose_table(first_of(found[0]), second_of(found[0]), first_of(found[scratch->capacity]),
                             scratch->predicted[j], tables++, offsets++);
            waiting = 0;
        }
    }
}

#endif

// Words that the handler of a signal shares with what it interrupts, which may be on another thread.
#ifndef SPARROW_CSIGNALS_H
#define SPARROW_CSIGNALS_H

#include <stdint.h>

// Without a lock, and in one order for all threads (C11, 7.17.3): what a handler may do.
static inline intptr_t sparrow_word_load(const intptr_t *word) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void sparrow_word_store(intptr_t *word, intptr_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

// Returns what was there before.
static inline intptr_t sparrow_word_exchange(intptr_t *word, intptr_t value) {
  return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

#endif

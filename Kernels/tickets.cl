// Blocks of work by ticket. As many work-items as the device has compute units draw block numbers
// from `tickets[0]` until none is left, so that a core that starts late or is busy with something
// else draws fewer. Which work-item computes a block changes no bit of it. `tickets[1]` counts the
// work-items that are done; the last one sets both to 0 for the next launch.
#ifndef FOR_EACH_TICKET
#define FOR_EACH_TICKET(block, blocks) \
  for (uint block = atomic_inc(tickets); block < (blocks); block = atomic_inc(tickets))
#define RETURN_TICKETS                                       \
  if (atomic_inc(tickets + 1) == get_global_size(0) - 1) {   \
    atomic_xchg(tickets, 0u);                                \
    atomic_xchg(tickets + 1, 0u);                            \
  }
#endif

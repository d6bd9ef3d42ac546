// The C peer of cyclic transmission: clock_nanosleep to absolute deadlines, one send for each.
//
// cyclic PRIORITY INTERFACE ID PERIOD_US     ID: hexadecimal. PRIORITY: of SCHED_FIFO, 0 for an ordinary process.
#include "bus.h"

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "cyclic PRIORITY INTERFACE ID PERIOD_US\n");
        return 64;
    }
    int bus = open_bus(argv[2]);
    struct can_filter none[1];
    if (setsockopt(bus, SOL_CAN_RAW, CAN_RAW_FILTER, none, 0) != 0)
        die("CAN_RAW_FILTER");
    struct can_frame frame = {.can_id = (canid_t)strtoul(argv[3], NULL, 16), .len = 8};
    uint64_t period = strtoull(argv[4], NULL, 10) * 1000;
    real_time(atoi(argv[1]));
    for (uint64_t at = monotonic() + period;; at += period) {
        sleep_until(at);
        if (send(bus, &frame, sizeof frame, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != ENOBUFS)
            perror("send");
        frame.data[0]++;
    }
}

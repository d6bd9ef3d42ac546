// The measurer: sends numbered frames on one interface, takes them on another, and says what became of them.
//
// measure [-p PRIORITY] [-e DATA_ID] MODE ...          ROUTE: FROM:TO:ID:ID_AFTER, for example vcan0:vcan1:123:123
//   ready SECONDS ROUTE                waits until frames pass
//   latency RATE COUNT ROUTE           us between the kernel's receive stamps on FROM and TO
//   rate START PERCENT ROUTE           steps of one second, each PERCENT faster, until frames are lost twice in a step
//   closed COUNT BURST PAUSE_MS ROUTE  the next burst only when the last one has passed
//   many SECONDS RATE ROUTE...         all routes together at RATE frames a second in total
//   cyclic COUNT PERIOD_US INTERFACE:ID   intervals between the frames of one identifier
//
// One line of name=value on standard output. Frames have 8 bytes; 2 to 5 are the number, little endian. -e: byte 0 is the
// checksum and the low half of byte 1 the counter of E2E profile 1A with this data ID. Status 1: no answer.
#include "bus.h"

#include <poll.h>

#define ROUTES 8
#define WARM_UP 100

struct route {
    char from[IFNAMSIZ], to[IFNAMSIZ];
    canid_t id, id_after;
    // Sending socket on FROM; receiving ones on FROM (what was sent, as others see it) and TO.
    int sender, before, after;
    uint32_t sent, received, out_of_order;
};

static struct route routes[ROUTES];
static struct batch batch;
static int priority, data_id = -1;
// Frames that the measurer's own sockets lost: figures with any are void.
static uint32_t own_drops;

static void usage(void) {
    fprintf(stderr, "measure: see the head of measure.c\n");
    exit(64);
}

// A receiving socket with room for seconds of frames (root can have more than net.core.rmem_max).
static int open_receiver(const char *interface, canid_t id) {
    int bus = open_bus(interface);
    struct can_filter only = {id, CAN_SFF_MASK | CAN_EFF_FLAG | CAN_RTR_FLAG};
    if (setsockopt(bus, SOL_CAN_RAW, CAN_RAW_FILTER, &only, sizeof only) != 0)
        die("CAN_RAW_FILTER");
    int room = 128 * 1024 * 1024;
    if (setsockopt(bus, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        perror("small receive buffer");
    while (receive_batch(&batch, bus) > 0) {
    }
    return bus;
}

static struct route *parse(struct route *route, const char *text) {
    if (sscanf(text, "%15[^:]:%15[^:]:%x:%x", route->from, route->to, &route->id, &route->id_after) != 4)
        usage();
    route->sender = open_bus(route->from);
    if (setsockopt(route->sender, SOL_CAN_RAW, CAN_RAW_FILTER, NULL, 0) != 0)
        die("CAN_RAW_FILTER");
    route->before = open_receiver(route->from, route->id);
    route->after = open_receiver(route->to, route->id_after);
    return route;
}

// CRC-8 SAE J1850 as E2E profile 1 uses it: start and final value 0.
static uint8_t crc8(uint8_t crc, uint8_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = (uint8_t)((crc << 1) ^ (crc & 0x80 ? 0x1D : 0));
    return crc;
}

static void send_number(struct route *route) {
    uint32_t number = route->sent++;
    struct can_frame frame = {.can_id = route->id, .len = 8};
    memcpy(frame.data + 2, &number, sizeof number);
    if (data_id >= 0) {
        // the counter of profile 1 runs from 0 to 14
        frame.data[1] = (uint8_t)(number % 15);
        uint8_t crc = crc8(crc8(0, (uint8_t)data_id), (uint8_t)(data_id >> 8));
        for (int i = 1; i < 8; i++)
            crc = crc8(crc, frame.data[i]);
        frame.data[0] = crc;
    }
    while (send(route->sender, &frame, sizeof frame, 0) < 0) {
        if (errno != ENOBUFS && errno != EAGAIN)
            die("send");
    }
}

// Ends a run where the next one begins: with a counter of 0, so that none of its frames is out of order.
static int finish(struct route *route, int status) {
    while (data_id >= 0 && route->sent % 15 != 0)
        send_number(route);
    return status;
}

static uint32_t number_of(const struct canfd_frame *frame) {
    uint32_t number;
    memcpy(&number, frame->data + 2, sizeof number);
    return number;
}

// Takes what waits in a socket; stamps[number] becomes the frame's stamp where there is an array. The number of frames.
static uint32_t drain(int socket, uint64_t *stamps, uint32_t size) {
    uint32_t all = 0;
    int count;
    while ((count = receive_batch(&batch, socket)) > 0) {
        for (int i = 0; i < count; i++) {
            uint32_t drops = 0, number = number_of(&batch.frames[i]);
            uint64_t stamp = stamp_and_drops(&batch, i, &drops);
            if (drops > own_drops)
                own_drops = drops;
            if (stamps != NULL && number < size)
                stamps[number] = stamp;
        }
        all += (uint32_t)count;
    }
    return all;
}

// Takes the frames of a route until `wanted` are there or none has come for 500 ms.
static uint32_t drain_all(struct route *route, uint32_t wanted, uint64_t *stamps, uint32_t size) {
    uint32_t all = 0;
    uint64_t last = monotonic();
    while (all < wanted && monotonic() - last < 500000000u) {
        struct pollfd wait = {.fd = route->after, .events = POLLIN};
        poll(&wait, 1, 50);
        uint32_t count = drain(route->after, stamps, size);
        if (count > 0)
            last = monotonic();
        all += count;
    }
    return all;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Of sorted figures.
static double quantile(const double *sorted, uint32_t count, double part) {
    if (count == 0)
        return 0;
    uint32_t at = (uint32_t)(part * count);
    return sorted[at < count ? at : count - 1];
}

static void print_quantiles(double *figures, uint32_t count) {
    qsort(figures, count, sizeof *figures, ascending);
    printf(" p50=%.1f p99=%.1f p999=%.1f max=%.1f", quantile(figures, count, 0.5), quantile(figures, count, 0.99),
           quantile(figures, count, 0.999), quantile(figures, count, 1));
}

static double median(double *figures, uint32_t count) {
    qsort(figures, count, sizeof *figures, ascending);
    return quantile(figures, count, 0.5);
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL)
        die("memory");
    return memory;
}

static int ready(double seconds, struct route *route) {
    uint64_t end = monotonic() + (uint64_t)(seconds * 1e9);
    while (monotonic() < end) {
        send_number(route);
        if (drain_all(route, 1, NULL, 0) > 0) {
            // what was held up comes now
            usleep(300000);
            drain(route->before, NULL, 0);
            drain(route->after, NULL, 0);
            printf("ready=1\n");
            return finish(route, 0);
        }
    }
    printf("ready=0\n");
    return 1;
}

// Sends `count` frames at an even pace; the time it took, in nanoseconds.
static uint64_t send_evenly(struct route *route, double rate, uint32_t count) {
    uint64_t start = monotonic() + 1000000u;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t due = start + (uint64_t)(i * 1e9 / rate);
        if (due > monotonic())
            sleep_until(due);
        send_number(route);
    }
    return monotonic() - start;
}

static int latency(double rate, uint32_t count, struct route *route) {
    uint32_t all = count + WARM_UP;
    uint64_t *before = allocate(all, sizeof *before), *after = allocate(all, sizeof *after);
    real_time(priority);
    uint64_t took = send_evenly(route, rate, all);
    uint32_t received = drain_all(route, all, after, all);
    drain(route->before, before, all);
    double *figures = allocate(all, sizeof *figures);
    uint32_t known = 0, lost = 0;
    for (uint32_t i = WARM_UP; i < all; i++) {
        if (before[i] != 0 && after[i] != 0)
            figures[known++] = ((double)after[i] - (double)before[i]) / 1e3;
        else
            lost++;
    }
    printf("sent=%u received=%u lost=%u own_drops=%u rate=%.0f", all, received, lost, own_drops, all * 1e9 / (double)took);
    print_quantiles(figures, known);
    printf("\n");
    return finish(route, known == 0);
}

static int rate(double start, double percent, struct route *route) {
    double lossless = 0;
    const char *limit = "forwarder";
    real_time(priority);
    for (double step = start;; step *= 1 + percent / 100) {
        uint32_t count = (uint32_t)step, lost = 1;
        uint64_t took = 0;
        for (int attempt = 0; attempt < 2 && (lost > 0 || took > 1050000000u); attempt++) {
            took = send_evenly(route, step, count);
            lost = count - drain_all(route, count, NULL, 0);
            drain(route->before, NULL, 0);
        }
        if (lost > 0)
            break;
        // behind by more than 5 %: the sender is at its end, and so is this measurement
        if (took > 1050000000u) {
            limit = "sender";
            lossless = count * 1e9 / (double)took;
            break;
        }
        lossless = step;
    }
    printf("lossless=%.0f limit=%s own_drops=%u\n", lossless, limit, own_drops);
    return finish(route, lossless == 0);
}

static int closed(uint32_t count, uint32_t burst, unsigned pause, struct route *route) {
    uint32_t received = 0;
    real_time(priority);
    for (uint32_t i = 0; i < count; i += burst) {
        for (uint32_t frame = 0; frame < burst; frame++)
            send_number(route);
        // a traced forwarder is slow
        for (uint32_t got = 0, tries = 0; got < burst && tries < 200; tries++) {
            uint32_t more = drain_all(route, burst - got, NULL, 0);
            got += more;
            received += more;
        }
        drain(route->before, NULL, 0);
        usleep(pause * 1000);
    }
    printf("sent=%u received=%u\n", route->sent, received);
    return finish(route, received != route->sent);
}

// Takes what has come on all routes and looks at its order.
static uint32_t collect(int count) {
    uint32_t all = 0;
    for (int r = 0; r < count; r++) {
        struct route *route = &routes[r];
        int frames;
        while ((frames = receive_batch(&batch, route->after)) > 0) {
            for (int i = 0; i < frames; i++) {
                uint32_t drops = 0;
                stamp_and_drops(&batch, i, &drops);
                if (drops > own_drops)
                    own_drops = drops;
                // those after a lost one are in order again
                static uint32_t next[ROUTES];
                uint32_t number = number_of(&batch.frames[i]);
                route->out_of_order += number < next[r];
                next[r] = number + 1;
            }
            route->received += (uint32_t)frames;
            all += (uint32_t)frames;
        }
        drain(route->before, NULL, 0);
    }
    return all;
}

static int many(double seconds, double rate, int count) {
    real_time(priority);
    uint64_t start = monotonic() + 1000000u, look = start;
    uint32_t all = (uint32_t)(seconds * rate), received = 0, out_of_order = 0;
    for (uint32_t i = 0; i < all; i++) {
        uint64_t due = start + (uint64_t)(i * 1e9 / rate), now = monotonic();
        if (due > now)
            sleep_until(due);
        send_number(&routes[i % (unsigned)count]);
        if (now > look) {
            collect(count);
            look = now + 20000000u;
        }
    }
    uint64_t took = monotonic() - start, last = monotonic();
    while (monotonic() - last < 1000000000u) {
        if (collect(count) > 0)
            last = monotonic();
        usleep(10000);
    }
    for (int r = 0; r < count; r++) {
        received += routes[r].received;
        out_of_order += routes[r].out_of_order;
    }
    printf("sent=%u received=%u lost=%d out_of_order=%u own_drops=%u rate=%.0f seconds=%.1f\n", all, received,
           (int)(all - received), out_of_order, own_drops, all * 1e9 / (double)took, (double)took / 1e9);
    return received != all;
}

static int cyclic(uint32_t count, double period, const char *text) {
    char interface[IFNAMSIZ];
    canid_t id;
    if (sscanf(text, "%15[^:]:%x", interface, &id) != 2)
        usage();
    int bus = open_receiver(interface, id);
    double *jitter = allocate(count, sizeof *jitter), *phase = allocate(count, sizeof *phase), sum = 0;
    uint64_t last = 0, first = 0, end = monotonic() + (uint64_t)(period * 1e3 * count * 3) + 5000000000u;
    uint32_t intervals = 0, seen = 0;
    real_time(priority);
    while (intervals < count && monotonic() < end) {
        // in batches, or the measurer's own wake-ups would be part of what it measures
        usleep(50000);
        int frames;
        while ((frames = receive_batch(&batch, bus)) > 0) {
            for (int i = 0; i < frames && intervals < count; i++) {
                uint32_t drops = 0;
                uint64_t stamp = stamp_and_drops(&batch, i, &drops);
                if (drops > own_drops)
                    own_drops = drops;
                // the start of a sender is not its steady state
                if (++seen <= WARM_UP) {
                    last = first = stamp;
                    continue;
                }
                double deviation = ((double)stamp - (double)last) / 1e3 - period;
                jitter[intervals++] = deviation < 0 ? -deviation : deviation;
                // where in its cycle a frame is, early and late in the run
                double moment = ((double)stamp - (double)first) / 1e3;
                phase[intervals - 1] = moment - period * (double)(uint64_t)(moment / period + 0.5);
                last = stamp;
            }
        }
    }
    if (intervals > 0)
        sum = ((double)last - (double)first) / 1e3;
    // cycles left out in all; and the drift of those that were kept, in millionths, from the first third to the last
    double left_out = sum / period - intervals;
    uint32_t third = intervals / 3;
    double early = median(phase, third), late = median(phase + intervals - third, third);
    printf("intervals=%u own_drops=%u mean=%.3f missed=%.0f drift=%.2f", intervals, own_drops, intervals ? sum / intervals : 0,
           left_out > 0 ? left_out : 0, sum > 0 ? (late - early) / (sum * 2 / 3) * 1e6 : 0);
    print_quantiles(jitter, intervals);
    printf("\n");
    return intervals < count;
}

int main(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+p:e:")) != -1) {
        if (option == 'p')
            priority = atoi(optarg);
        else if (option == 'e')
            data_id = (int)strtol(optarg, NULL, 0);
        else
            usage();
    }
    argc -= optind;
    argv += optind;
    if (argc < 3)
        usage();
    const char *mode = argv[0];
    if (strcmp(mode, "ready") == 0)
        return ready(atof(argv[1]), parse(&routes[0], argv[2]));
    if (strcmp(mode, "latency") == 0 && argc == 4)
        return latency(atof(argv[1]), (uint32_t)atoi(argv[2]), parse(&routes[0], argv[3]));
    if (strcmp(mode, "rate") == 0 && argc == 4)
        return rate(atof(argv[1]), atof(argv[2]), parse(&routes[0], argv[3]));
    if (strcmp(mode, "closed") == 0 && argc == 5)
        return closed((uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), (unsigned)atoi(argv[3]), parse(&routes[0], argv[4]));
    if (strcmp(mode, "cyclic") == 0 && argc == 4)
        return cyclic((uint32_t)atoi(argv[1]), atof(argv[2]), argv[3]);
    if (strcmp(mode, "many") == 0 && argc >= 4 && argc - 3 <= ROUTES) {
        for (int i = 3; i < argc; i++)
            parse(&routes[i - 3], argv[i]);
        return many(atof(argv[1]), atof(argv[2]), argc - 3);
    }
    usage();
}

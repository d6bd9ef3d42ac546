// The C peer: forwards frames by identifier between interfaces, one epoll loop, recvmmsg, one socket for each bus, send.
//
// forward PRIORITY FROM TO ID [FROM TO ID]...     ID: hexadecimal, 11 bits. PRIORITY: of SCHED_FIFO, 0 for an ordinary process.
#include "bus.h"

#include <sys/epoll.h>

#define BUSES 8
#define IDS 2048

struct bus {
    const char *name;
    int socket;
    // By identifier: the socket to forward to, or -1.
    int to[IDS];
    uint32_t drops;
};

static struct bus buses[BUSES];
static int bus_count;
static struct batch batch;

static struct bus *bus_named(const char *name) {
    for (int i = 0; i < bus_count; i++)
        if (strcmp(buses[i].name, name) == 0)
            return &buses[i];
    if (bus_count == BUSES)
        exit(64);
    struct bus *bus = &buses[bus_count++];
    bus->name = name;
    bus->socket = open_bus(name);
    for (int id = 0; id < IDS; id++)
        bus->to[id] = -1;
    return bus;
}

int main(int argc, char **argv) {
    if (argc < 5 || (argc - 2) % 3 != 0) {
        fprintf(stderr, "forward PRIORITY FROM TO ID [FROM TO ID]...\n");
        return 64;
    }
    for (int i = 2; i < argc; i += 3) {
        struct bus *from = bus_named(argv[i]), *to = bus_named(argv[i + 1]);
        from->to[strtoul(argv[i + 2], NULL, 16) % IDS] = to->socket;
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < bus_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, buses[i].socket, &event) != 0)
            die("epoll_ctl");
    }
    real_time(atoi(argv[1]));

    struct epoll_event ready[32];
    for (;;) {
        int count = epoll_wait(epoll, ready, 32, -1);
        for (int i = 0; i < count; i++) {
            struct bus *bus = &buses[ready[i].data.u64];
            int frames = receive_batch(&batch, bus->socket);
            for (int frame = 0; frame < frames; frame++) {
                stamp_and_drops(&batch, frame, &bus->drops);
                struct canfd_frame *raw = &batch.frames[frame];
                unsigned length = batch.headers[frame].msg_len;
                if ((raw->can_id & ~(canid_t)CAN_SFF_MASK) != 0 || (length != CAN_MTU && length != CANFD_MTU))
                    continue;
                int to = bus->to[raw->can_id];
                if (to >= 0 && send(to, raw, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != ENOBUFS)
                    perror("send");
            }
        }
    }
}

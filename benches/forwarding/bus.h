// What the C programs of this folder share: raw sockets with Canvoy's options, the real-time class, the clock.
#ifndef BUS_H
#define BUS_H

#define _GNU_SOURCE
#include <errno.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// SO_RXQ_OVFL and SO_TIMESTAMPNS give a control message each.
#define CONTROL_WORDS 8

static inline void die(const char *what) {
    perror(what);
    exit(71);
}

static inline uint64_t nanoseconds(const struct timespec *time) {
    return (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
}

static inline uint64_t monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return nanoseconds(&now);
}

// Sleeps until CLOCK_MONOTONIC `at`.
static inline void sleep_until(uint64_t at) {
    struct timespec time = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
    }
}

// SCHED_FIFO and locked memory, as src/rt/grants.rs asks for them. A refusal is told: figures without it are others.
static inline void real_time(int priority) {
    struct sched_param parameter = {.sched_priority = priority};
    if (priority > 0 && sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) != 0)
        perror("no SCHED_FIFO");
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        perror("memory is not locked");
}

static inline void option(int socket, int level, int name, int value) {
    if (setsockopt(socket, level, name, &value, sizeof value) != 0)
        die("setsockopt");
}

// A socket on one interface with the options of src/bus/socketcan.rs: every frame, CAN FD, not its own frames, 2 MiB of
// receive buffer asked for, the kernel's time stamp and drop counter with each frame.
static inline int open_bus(const char *interface) {
    int bus = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);
    if (bus < 0)
        die("socket");
    struct can_filter all = {0, 0};
    if (setsockopt(bus, SOL_CAN_RAW, CAN_RAW_FILTER, &all, sizeof all) != 0)
        die("CAN_RAW_FILTER");
    option(bus, SOL_CAN_RAW, CAN_RAW_LOOPBACK, 1);
    option(bus, SOL_CAN_RAW, CAN_RAW_RECV_OWN_MSGS, 0);
    option(bus, SOL_CAN_RAW, CAN_RAW_FD_FRAMES, 1);
    option(bus, SOL_SOCKET, SO_RCVBUF, 2 * 1024 * 1024);
    option(bus, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    option(bus, SOL_SOCKET, SO_RXQ_OVFL, 1);
    struct sockaddr_can address = {.can_family = AF_CAN, .can_ifindex = (int)if_nametoindex(interface)};
    if (address.can_ifindex == 0)
        die(interface);
    if (bind(bus, (struct sockaddr *)&address, sizeof address) != 0)
        die("bind");
    return bus;
}

// Room to receive a batch of frames with their control messages.
#define BATCH 64
struct batch {
    struct canfd_frame frames[BATCH];
    uint64_t control[BATCH][CONTROL_WORDS];
    struct iovec vectors[BATCH];
    struct mmsghdr headers[BATCH];
};

// Takes what waits in a socket, as Batch::receive of src/bus/socketcan.rs; the number of frames, 0 for none or an error.
static inline int receive_batch(struct batch *batch, int socket) {
    for (int i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){&batch->frames[i], sizeof batch->frames[i]};
        struct msghdr *header = &batch->headers[i].msg_hdr;
        header->msg_iov = &batch->vectors[i];
        header->msg_iovlen = 1;
        header->msg_control = batch->control[i];
        header->msg_controllen = sizeof batch->control[i];
    }
    int count = recvmmsg(socket, batch->headers, BATCH, MSG_DONTWAIT, NULL);
    return count > 0 ? count : 0;
}

// The kernel's additions to one frame: its stamp (CLOCK_REALTIME, nanoseconds; 0: none) and the running drop counter,
// left as it was where there is none.
static inline uint64_t stamp_and_drops(struct batch *batch, int index, uint32_t *drops) {
    uint64_t stamp = 0;
    struct msghdr *header = &batch->headers[index].msg_hdr;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL; item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET)
            continue;
        if (item->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(item), sizeof time);
            stamp = nanoseconds(&time);
        } else if (item->cmsg_type == SO_RXQ_OVFL) {
            memcpy(drops, CMSG_DATA(item), sizeof *drops);
        }
    }
    return stamp;
}

#endif

// Counts what one thread does for each frame: instructions in user space (single steps of ptrace) and system calls.
//
// steps THREAD_ID FRAMES SECONDS [PROFILE]     ends after FRAMES received ones, or after SECONDS
//
// A turn is what lies between two waits (epoll_wait). Turns that received frames are counted apart from idle ones, so that
// heartbeats during this slow run do not count as the cost of frames. PROFILE: a file for every instruction in turns
// with frames: the file that it is from ("exe" for the program itself), its offset from where that is loaded, its count.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 512
#define TURNS 100000
#define PLACES (1 << 16)

// What is known of one instruction address.
struct place {
    uint64_t address, count, turn_count, turn;
    int is_call;
};

static struct place places[PLACES];
static double per_frame[TURNS], idle[TURNS];
static uint64_t calls[CALLS], turn_calls[CALLS], idle_calls[CALLS];
static pid_t thread;
static volatile sig_atomic_t over;

static const struct {
    long number;
    const char *name;
} names[] = {{SYS_epoll_wait, "epoll_wait"},       {SYS_epoll_pwait, "epoll_pwait"}, {SYS_epoll_pwait2, "epoll_pwait2"},
             {SYS_recvmmsg, "recvmmsg"},           {SYS_recvmsg, "recvmsg"},         {SYS_recvfrom, "recvfrom"},
             {SYS_sendto, "sendto"},               {SYS_sendmsg, "sendmsg"},         {SYS_sendmmsg, "sendmmsg"},
             {SYS_clock_gettime, "clock_gettime"}, {SYS_read, "read"},               {SYS_write, "write"},
             {SYS_timerfd_settime, "timerfd_settime"}, {SYS_futex, "futex"},         {SYS_epoll_ctl, "epoll_ctl"}};

static void timeout(int signal) {
    (void)signal;
    over = 1;
}

static int waits(long call) {
    return call == SYS_epoll_wait || call == SYS_epoll_pwait || call == SYS_epoll_pwait2;
}

static int receives(long call) {
    return call == SYS_recvmmsg || call == SYS_recvmsg || call == SYS_recvfrom || call == SYS_read;
}

static struct place *place_of(uint64_t address) {
    for (uint64_t at = (address * 0x9E3779B97F4A7C15u) >> 48;; at = (at + 1) % PLACES) {
        struct place *place = &places[at];
        if (place->address == address)
            return place;
        if (place->address == 0) {
            place->address = address;
            errno = 0;
            long text = ptrace(PTRACE_PEEKTEXT, thread, (void *)address, NULL);
            place->is_call = errno == 0 && (text & 0xFFFF) == 0x050F;
            return place;
        }
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *figures, uint64_t count) {
    qsort(figures, count, sizeof *figures, ascending);
    return count == 0 ? 0 : figures[count / 2];
}

// Waits for the next stop; 0 when the time is over or the thread is gone.
static int stopped(void) {
    int status, asked = 0;
    while (waitpid(thread, &status, __WALL) < 0) {
        if (errno != EINTR)
            return 0;
        if (over && !asked) {
            asked = 1;
            ptrace(PTRACE_INTERRUPT, thread, NULL, NULL);
        }
    }
    return WIFSTOPPED(status) && !over;
}

// The file that is mapped at an address, and where its first byte is; the program itself is "exe".
static uint64_t file_at(uint64_t address, char *name, size_t size) {
    char path[64], line[512], program[256] = "";
    snprintf(path, sizeof path, "/proc/%d/exe", thread);
    ssize_t length = readlink(path, program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", thread);
    FILE *maps = fopen(path, "r");
    uint64_t base = 0;
    snprintf(name, size, "unknown");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        uint64_t start, end, offset;
        char file[256] = "anonymous";
        if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %255s", &start, &end, &offset, file) < 3)
            continue;
        if (offset == 0)
            base = start;
        if (address < start || address >= end)
            continue;
        snprintf(name, size, "%s", strcmp(file, program) == 0 ? "exe" : file);
        break;
    }
    if (maps != NULL)
        fclose(maps);
    return base;
}

static void write_profile(const char *path) {
    FILE *profile = fopen(path, "w");
    if (profile == NULL)
        return;
    for (int i = 0; i < PLACES; i++) {
        char name[256];
        if (places[i].count == 0)
            continue;
        uint64_t start = file_at(places[i].address, name, sizeof name);
        fprintf(profile, "%s %lx %lu\n", name, places[i].address - start, places[i].count);
    }
    fclose(profile);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "steps THREAD_ID FRAMES SECONDS [PROFILE]\n");
        return 64;
    }
    thread = atoi(argv[1]);
    uint64_t wanted = strtoull(argv[2], NULL, 10);
    // no SA_RESTART: a waitpid that waits for a thread that waits must end
    struct sigaction action = {.sa_handler = timeout};
    sigaction(SIGALRM, &action, NULL);
    alarm((unsigned)atoi(argv[3]));
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0 || ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) != 0) {
        perror("ptrace");
        return 71;
    }
    uint64_t frames = 0, turns = 0, idle_turns = 0, steps = 0, turn_steps = 0, turn_frames = 0, turn = 1;
    int whole = 0;
    if (!stopped())
        return 71;
    while (frames < wanted && turns < TURNS && idle_turns < TURNS) {
        struct user_regs_struct registers;
        if (ptrace(PTRACE_GETREGS, thread, NULL, &registers) != 0)
            break;
        struct place *place = place_of(registers.rip);
        long call = place->is_call ? (long)registers.rax : -1;
        if (waits(call)) {
            if (whole && turn_frames > 0) {
                per_frame[turns++] = (double)turn_steps / (double)turn_frames;
                steps += turn_steps;
                frames += turn_frames;
                turn_calls[call]++;
                for (int i = 0; i < CALLS; i++)
                    calls[i] += turn_calls[i];
                for (int i = 0; i < PLACES; i++)
                    if (places[i].turn == turn)
                        places[i].count += places[i].turn_count;
            } else if (whole) {
                idle[idle_turns++] = (double)turn_steps;
                turn_calls[call]++;
                for (int i = 0; i < CALLS; i++)
                    idle_calls[i] += turn_calls[i];
            }
            memset(turn_calls, 0, sizeof turn_calls);
            turn_steps = turn_frames = 0;
            whole = 1;
            turn++;
        } else if (call >= 0 && call < CALLS) {
            turn_calls[call]++;
        }
        if (place->turn != turn) {
            place->turn = turn;
            place->turn_count = 0;
        }
        place->turn_count++;
        turn_steps++;
        if (ptrace(PTRACE_SINGLESTEP, thread, NULL, NULL) != 0 || !stopped())
            break;
        if (receives(call) && ptrace(PTRACE_GETREGS, thread, NULL, &registers) == 0 && (long)registers.rax > 0)
            turn_frames += call == SYS_recvmmsg ? registers.rax : call != SYS_read;
    }
    ptrace(PTRACE_DETACH, thread, NULL, NULL);
    if (argc > 4)
        write_profile(argv[4]);
    printf("frames=%lu turns=%lu instructions=%.0f median=%.0f idle_turns=%lu idle_median=%.0f", frames, turns,
           frames ? (double)steps / (double)frames : 0, median(per_frame, turns), idle_turns, median(idle, idle_turns));
    for (int kind = 0; kind < 2; kind++) {
        const uint64_t *counted = kind ? idle_calls : calls;
        double divisor = kind ? (double)idle_turns : (double)frames;
        for (int i = 0; i < CALLS; i++) {
            if (counted[i] == 0)
                continue;
            const char *name = NULL;
            for (size_t n = 0; n < sizeof names / sizeof *names; n++)
                if (names[n].number == i)
                    name = names[n].name;
            char number[16];
            snprintf(number, sizeof number, "%d", i);
            printf(" %s%s=%.3f", kind ? "idle." : "call.", name ? name : number, (double)counted[i] / divisor);
        }
    }
    printf("\n");
    return frames < wanted;
}

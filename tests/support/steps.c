/* Preloaded into a process of a test: it dies, as by kill -9, right behind one of its steps that last. Those are what it commits to the state
   (the journal of the file is on the disk; a COMMIT is on its way to the server), and what it renames or removes on the vault. The file named
   in TEST_STEPS says how many it may take (eight bytes), and counts down; 0 is any number. -1: it dies behind the next manifest that it puts.
   Processes that have the same file share it: the one dies that takes the last of these steps. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int64_t *left;

__attribute__((constructor)) static void find_steps(void) {
    const char *path = getenv("TEST_STEPS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) left = mapped;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void step(void) {
    int64_t before = left ? __atomic_load_n(left, __ATOMIC_SEQ_CST) : 0;
    /* The test may say something else meanwhile. */
    while (before > 0 && !__atomic_compare_exchange_n(left, &before, before - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    if (before == 1) die();
}

/* A manifest has its name once the one is removed under which it was written; its signature was put before it. */
static void step_of_manifest(const char *removed) {
    int64_t next = -1;
    if (left && strstr(removed, "/.manifest.json.") && !strstr(removed, ".minisig.") &&
        __atomic_compare_exchange_n(left, &next, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        die();
}

void step_of_sync(int file) {
    static const char journal[] = "/state.db-wal";
    char link[64], path[4096];
    if (!left) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t ends = sizeof journal - 1;
    if (length >= (ssize_t)ends && memcmp(path + length - ends, journal, ends) == 0) step();
}

int fdatasync(int file) {
    int done = (int)syscall(SYS_fdatasync, file);
    if (done == 0) step_of_sync(file);
    return done;
}

ssize_t send(int to, const void *bytes, size_t length, int flags) {
    ssize_t sent = syscall(SYS_sendto, to, bytes, length, flags, NULL, 0);
    /* With the NUL behind it: a transaction begins with READ COMMITTED. */
    if (sent > 0 && memmem(bytes, length, "COMMIT", sizeof "COMMIT")) step();
    return sent;
}

static int done_at(int done, const char *path) {
    if (done == 0 && strstr(path, "/vault/")) step();
    return done;
}

int rename(const char *from, const char *to) {
    return done_at((int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), from);
}

int unlink(const char *path) {
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (done == 0 && strstr(path, "/vault/")) step_of_manifest(path);
    return done_at(done, path);
}

int rmdir(const char *path) {
    return done_at((int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR), path);
}

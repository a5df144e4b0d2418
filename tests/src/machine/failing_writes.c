// Makes the writes of a program fail: those to files whose path has FAULT_PATH in it, while the file
// FAULT_FILE says so: "write 122" or "sync 122", with the number of an error.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int error_of(const char *step, int fd) {
    const char *part = getenv("FAULT_PATH"), *file = getenv("FAULT_FILE");
    char link[64], path[4096], wanted[16];
    int number = 0;
    if (part == NULL || file == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strstr(path, part) == NULL) return 0;
    FILE *fault = fopen(file, "r");
    if (fault == NULL) return 0;
    int found = fscanf(fault, "%15s %d", wanted, &number);
    fclose(fault);
    return found == 2 && strcmp(step, wanted) == 0 ? number : 0;
}

#define FAILS(step, result, name, parameters, arguments)                                 \
    result name parameters {                                                             \
        static result (*real) parameters;                                                \
        if (real == NULL) real = (result (*) parameters)dlsym(RTLD_NEXT, #name);         \
        int error = error_of(step, fd);                                                  \
        if (error != 0) {                                                                \
            errno = error;                                                               \
            return -1;                                                                   \
        }                                                                                \
        return real arguments;                                                           \
    }

FAILS("write", ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
FAILS("write", ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
FAILS("sync", int, fsync, (int fd), (fd))
FAILS("sync", int, fdatasync, (int fd), (fd))

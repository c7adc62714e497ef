/* What Android's C library has and glibc has not, so that a desktop JVM loads an AAR's x86_64 library. For tests alone.
 *
 * Functions whose names end in X stand for the function with its own last letter: patch_bionic.py renames the calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BIONIC_FILE_BYTES = 152, ALIGNMENT = 64 };

char __sF[3 * BIONIC_FILE_BYTES]; /* bionic's stdin, stdout and stderr */

static FILE *stream(FILE *file) {
    char *place = (char *)file;
    if (place < __sF || place >= __sF + sizeof __sF) return file;
    FILE *standard[] = {stdin, stdout, stderr};
    return standard[(place - __sF) / BIONIC_FILE_BYTES];
}

int *__errno(void) { return &errno; }

size_t __strlen_chk(const char *text, size_t size) {
    (void)size;
    return strlen(text);
}

/* TFLite turns XNNPACK on only where this says that the SDK is newer than 19. */
int __system_property_get(const char *name, char *value) {
    strcpy(value, strcmp(name, "ro.build.version.sdk") == 0 ? "34" : "");
    return (int)strlen(value);
}

void android_set_abort_message(const char *message) { fprintf(stderr, "abort: %s\n", message); }

/* The log goes to the file that NATIVE_LOG names, for tests to read. */
int __android_log_vprint(int priority, const char *tag, const char *format, va_list arguments) {
    (void)priority;
    const char *path = getenv("NATIVE_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (!log) return 0;
    fprintf(log, "%s: ", tag);
    int count = vfprintf(log, format, arguments);
    fputc('\n', log);
    fclose(log);
    return count;
}

int __android_log_print(int priority, const char *tag, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = __android_log_vprint(priority, tag, format, arguments);
    va_end(arguments);
    return count;
}

int vfprintX(FILE *file, const char *format, va_list arguments) { return vfprintf(stream(file), format, arguments); }

int fprintX(FILE *file, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = vfprintf(stream(file), format, arguments);
    va_end(arguments);
    return count;
}

int fputX(int letter, FILE *file) { return fputc(letter, stream(file)); }

int fflusX(FILE *file) { return fflush(file ? stream(file) : NULL); }

size_t fwritX(const void *data, size_t size, size_t count, FILE *file) { return fwrite(data, size, count, stream(file)); }

/* XNNPACK's AVX-512 kernels read parameters with aligned loads, from memory that it asked for with less alignment. */
void *memaligX(size_t alignment, size_t size) {
    return memalign(alignment < ALIGNMENT ? ALIGNMENT : alignment, size);
}

/* bionic numbers its questions otherwise. */
long sysconX(int name) {
    switch (name) {
        case 0x27:
        case 0x28: return sysconf(_SC_PAGESIZE);
        case 0x60: return sysconf(_SC_NPROCESSORS_CONF);
        case 0x61: return sysconf(_SC_NPROCESSORS_ONLN);
        case 0x62: return sysconf(_SC_PHYS_PAGES);
        case 0x63: return sysconf(_SC_AVPHYS_PAGES);
        default: errno = EINVAL; return -1;
    }
}

/* bionic's RTLD_DEFAULT also looks into the caller's own library. */
void *dlsyX(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    Dl_info caller;
    if (found || handle || !dladdr(__builtin_return_address(0), &caller)) return found;
    void *own = dlopen(caller.dli_fname, RTLD_NOLOAD | RTLD_NOW);
    if (!own) return NULL;
    found = dlsym(own, name);
    dlclose(own);
    return found;
}

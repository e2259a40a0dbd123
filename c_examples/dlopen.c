/*
 * dlopen: fcgate loaded at run time, by a program that is linked with libc only.
 *
 *     cc dlopen.c -o dlopen $(pkg-config --cflags fcgate) -ldl
 *     ./dlopen libfcgate.so.0 "unix:/run/php/fpm.sock" /srv/www/index.php
 *
 * Checks that the library fits the header, resolves what it needs, makes one request, and prints the
 * body. Exits with 0 if the response was whole.
 */
#include <dlfcn.h>
#include <fcgate.h>
#include <stdio.h>
#include <string.h>

/* What this program calls, by the header's own types. */
#define FUNCTIONS(F) \
    F(fcgate_abi_check) F(fcgate_version) F(fcgate_open) F(fcgate_gateway_free) F(fcgate_request_new) \
    F(fcgate_request_param) F(fcgate_request_free) F(fcgate_forward)
#define DECLARE(name) static __typeof__(&name) p_##name;
FUNCTIONS(DECLARE)

static int resolve(void *library)
{
    void *symbol;
#define RESOLVE(name) \
    symbol = dlsym(library, #name); \
    if (!symbol) \
        return 0; \
    memcpy(&p_##name, &symbol, sizeof symbol);
    FUNCTIONS(RESOLVE)
    return 1;
}

static int32_t on_data(void *user, const void *bytes, size_t length)
{
    (void)user;
    return fwrite(bytes, 1, length, stdout) == length ? FCGATE_OK : FCGATE_E_ABORTED;
}

static void param(fcgate_request *request, const char *name, const char *value)
{
    p_fcgate_request_param(request, name, strlen(name), value, strlen(value));
}

int main(int argc, char **argv)
{
    fcgate_handler handler = { 0 };
    fcgate_error error;
    fcgate_gateway *gateway;
    fcgate_request *request;
    void *library;
    int32_t status;

    if (argc != 4) {
        fprintf(stderr, "usage: %s LIBRARY \"ADDRESS [setting=value ...]\" SCRIPT\n", argv[0]);
        return 2;
    }
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library || !resolve(library)) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    if (p_fcgate_abi_check(FCGATE_ABI, &error) != FCGATE_OK || !(gateway = p_fcgate_open(argv[2], &error))) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    fprintf(stderr, "fcgate %s\n", p_fcgate_version());
    request = p_fcgate_request_new();
    param(request, "SCRIPT_FILENAME", argv[3]);
    param(request, "SCRIPT_NAME", argv[3]);
    param(request, "REQUEST_METHOD", "GET");
    handler.struct_size = sizeof handler;
    handler.client_fd = -1;
    handler.data = on_data;
    status = p_fcgate_forward(gateway, NULL, request, &handler, NULL, NULL, &error);
    if (status != FCGATE_OK)
        fprintf(stderr, "%s\n", error.text);
    p_fcgate_request_free(request);
    p_fcgate_gateway_free(gateway);
    return status == FCGATE_OK ? 0 : 1;
}

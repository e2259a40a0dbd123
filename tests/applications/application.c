/* What tests/applications.rs asks of every runtime, by `do` of the query: on libfcgi, with a process for each
 * connection. The socket is descriptor 0, as spawn-fcgi hands it over. */
#include <fcgiapp.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES = 8 };

static int is(FCGX_Request *request, const char *word)
{
    const char *query = FCGX_GetParam("QUERY_STRING", request->envp);
    size_t length = strlen(word);
    return query && !strncmp(query, "do=", 3) && !strncmp(query + 3, word, length) &&
           (!query[3 + length] || query[3 + length] == '&');
}

static void params(FCGX_Request *request)
{
    static const char *const names[] = { "REQUEST_METHOD", "QUERY_STRING",   "SCRIPT_NAME",
                                         "PATH_INFO",      "CONTENT_LENGTH", "HTTP_X_WORD" };
    size_t at;
    for (at = 0; at < sizeof names / sizeof *names; at++) {
        const char *value = FCGX_GetParam(names[at], request->envp);
        FCGX_FPrintF(request->out, "%s=%s\n", names[at], value ? value : "");
    }
}

static void answer(FCGX_Request *request)
{
    char piece[4096];
    int length, at;
    FCGX_PutS("X-Application: libfcgi\r\nContent-Type: text/plain\r\n", request->out);
    if (is(request, "missing")) {
        FCGX_PutS("Status: 404 Not Found\r\n\r\nnot here", request->out);
    } else if (is(request, "moved")) {
        FCGX_PutS("Status: 302 Found\r\nLocation: https://example.net/elsewhere\r\n\r\n", request->out);
    } else {
        FCGX_PutS("\r\n", request->out);
        if (is(request, "params"))
            params(request);
        if (is(request, "echo"))
            while ((length = FCGX_GetStr(piece, sizeof piece, request->in)) > 0)
                FCGX_PutStr(piece, length, request->out);
        if (is(request, "large"))
            for (at = 0; at < 65536; at++)
                FCGX_PutS("0123456789abcdef", request->out);
        if (is(request, "log")) {
            FCGX_PutS("a line for the log\n", request->err);
            FCGX_PutS("logged", request->out);
        }
    }
}

int main(void)
{
    FCGX_Request request;
    int at;
    for (at = 1; at < PROCESSES; at++)
        if (fork() == 0)
            break;
    FCGX_Init();
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        answer(&request);
        FCGX_Finish_r(&request);
    }
    return 0;
}

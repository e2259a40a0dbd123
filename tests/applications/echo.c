/* A plain application on libfcgi, which does one request at a time: `n` of the query, then the body. */
#include <fcgiapp.h>
#include <string.h>

int main(int argc, char **argv)
{
    FCGX_Request request;
    FCGX_Init();
    FCGX_InitRequest(&request, argc > 1 ? FCGX_OpenSocket(argv[1], 64) : 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        const char *query = FCGX_GetParam("QUERY_STRING", request.envp);
        char piece[4096];
        int length;
        FCGX_FPrintF(request.out, "Content-Type: text/plain\r\n\r\n%s;", query && !strncmp(query, "n=", 2) ? query + 2 : "");
        while ((length = FCGX_GetStr(piece, sizeof piece, request.in)) > 0)
            FCGX_PutStr(piece, length, request.out);
        FCGX_Finish_r(&request);
    }
    return 0;
}

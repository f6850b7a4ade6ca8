/* wolfSSL: TLS 1.2, and records of 1024 octets at most. */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "transport.h"

static struct {
    struct transport_files files;
    WOLFSSL_CTX *context;
    WOLFSSL *ssl;
    int socket;
    int broken; /* nothing can be written any more */
} tls;

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints, *found, *each;
    struct timeval limit = {TRANSPORT_SECONDS, 0};
    int made = -1;

    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    for (each = found; each != NULL; each = each->ai_next) {
        made = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
        if (made < 0)
            continue;
        setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(made, each->ai_addr, each->ai_addrlen) == 0)
            break;
        close(made);
        made = -1;
    }
    freeaddrinfo(found);
    return made;
}

/* After a write that failed wolfSSL reads nothing either, but the gateway may have answered: so it isn't told. */
static int send_octets(WOLFSSL *ssl, char *octets, int count, void *context)
{
    ssize_t sent = tls.broken ? count : send(tls.socket, octets, (size_t)count, 0);

    (void)ssl;
    (void)context;
    if (sent < 0 && errno == EINTR)
        return WOLFSSL_CBIO_ERR_ISR;
    if (sent < 0)
        tls.broken = 1;
    return tls.broken ? count : (int)sent;
}

static int open_connection(void *self)
{
    (void)self;
    tls.broken = 0;
    tls.socket = connect_to(tls.files.host, tls.files.port);
    if (tls.socket < 0) {
        fprintf(stderr, "connecting to %s port %s failed\n", tls.files.host, tls.files.port);
        return -1;
    }
    tls.ssl = wolfSSL_new(tls.context);
    if (tls.ssl == NULL || wolfSSL_set_fd(tls.ssl, tls.socket) != SSL_SUCCESS ||
        wolfSSL_UseSNI(tls.ssl, WOLFSSL_SNI_HOST_NAME, tls.files.host, (unsigned short)strlen(tls.files.host)) !=
            SSL_SUCCESS ||
        wolfSSL_check_domain_name(tls.ssl, tls.files.host) != SSL_SUCCESS)
        return -1;
    if (wolfSSL_connect(tls.ssl) != SSL_SUCCESS) {
        char text[WOLFSSL_MAX_ERROR_SZ];

        wolfSSL_ERR_error_string((unsigned long)wolfSSL_get_error(tls.ssl, 0), text);
        fprintf(stderr, "handshake: %s\n", text);
        return -1;
    }
    return 0;
}

static int write_all(void *self, const void *octets, size_t count)
{
    (void)self;
    return wolfSSL_write(tls.ssl, octets, (int)count) == (int)count && !tls.broken ? 0 : -1;
}

static int read_some(void *self, void *octets, size_t most)
{
    (void)self;
    return wolfSSL_read(tls.ssl, octets, (int)most);
}

static void close_connection(void *self)
{
    (void)self;
    if (tls.ssl != NULL) {
        wolfSSL_shutdown(tls.ssl);
        wolfSSL_free(tls.ssl);
        tls.ssl = NULL;
    }
    if (tls.socket >= 0)
        close(tls.socket);
    tls.socket = -1;
}

static int tell(const char *what)
{
    fprintf(stderr, "%s can't be used\n", what);
    return -1;
}

int transport_set_up(const struct transport_files *files, struct mailgate_transport *transport)
{
    tls.files = *files;
    tls.socket = -1;
    wolfSSL_Init();
    tls.context = wolfSSL_CTX_new(wolfTLSv1_2_client_method());
    if (tls.context == NULL)
        return tell("TLS 1.2");
    wolfSSL_CTX_clear_mode(tls.context, SSL_MODE_AUTO_RETRY); /* ten times as long a wait for a handshake */
    wolfSSL_CTX_SetIOSend(tls.context, send_octets);
    wolfSSL_CTX_set_verify(tls.context, SSL_VERIFY_PEER, NULL);
    if (wolfSSL_CTX_load_verify_locations(tls.context, files->ca, NULL) != SSL_SUCCESS)
        return tell(files->ca);
    if (wolfSSL_CTX_use_certificate_chain_file(tls.context, files->certificate) != SSL_SUCCESS)
        return tell(files->certificate);
    if (wolfSSL_CTX_use_PrivateKey_file(tls.context, files->key, SSL_FILETYPE_PEM) != SSL_SUCCESS)
        return tell(files->key);
    if (wolfSSL_CTX_UseMaxFragment(tls.context, WOLFSSL_MFL_2_10) != SSL_SUCCESS)
        return tell("records of 1024 octets");
    transport->self = NULL;
    transport->open = open_connection;
    transport->write = write_all;
    transport->read = read_some;
    transport->close = close_connection;
    return 0;
}

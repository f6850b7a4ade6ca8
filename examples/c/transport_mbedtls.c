/*
 * mbedTLS: TLS 1.2 with ECDHE and ECDSA, and records of 1024 octets at most, as a device with little memory has it.
 * For such a device MBEDTLS_SSL_IN_CONTENT_LEN and MBEDTLS_SSL_OUT_CONTENT_LEN can be set to 2048.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>

#include "transport.h"

static struct {
    struct transport_files files;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_net_context net;
} tls;

static int tell(const char *what, int error)
{
    char text[128];

    mbedtls_strerror(error, text, sizeof text);
    fprintf(stderr, "%s: %s\n", what, text);
    return -1;
}

static int open_connection(void *self)
{
    struct timeval limit = {TRANSPORT_SECONDS, 0};
    int error;

    (void)self;
    mbedtls_net_init(&tls.net);
    mbedtls_ssl_init(&tls.ssl);
    error = mbedtls_net_connect(&tls.net, tls.files.host, tls.files.port, MBEDTLS_NET_PROTO_TCP);
    if (error != 0)
        return tell("connecting", error);
    /* mbedTLS has a limit of its own for reading only. */
    setsockopt(tls.net.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    error = mbedtls_ssl_setup(&tls.ssl, &tls.config);
    if (error == 0)
        error = mbedtls_ssl_set_hostname(&tls.ssl, tls.files.host);
    if (error != 0)
        return tell("TLS", error);
    mbedtls_ssl_set_bio(&tls.ssl, &tls.net, mbedtls_net_send, NULL, mbedtls_net_recv_timeout);
    while ((error = mbedtls_ssl_handshake(&tls.ssl)) != 0)
        if (error != MBEDTLS_ERR_SSL_WANT_READ && error != MBEDTLS_ERR_SSL_WANT_WRITE)
            return tell("handshake", error);
    return 0;
}

static int write_all(void *self, const void *octets, size_t count)
{
    const unsigned char *at = octets;

    (void)self;
    while (count > 0) {
        int written = mbedtls_ssl_write(&tls.ssl, at, count);

        if (written == MBEDTLS_ERR_SSL_WANT_READ || written == MBEDTLS_ERR_SSL_WANT_WRITE)
            continue;
        if (written < 0)
            return -1;
        at += written;
        count -= (size_t)written;
    }
    return 0;
}

static int read_some(void *self, void *octets, size_t most)
{
    int got;

    (void)self;
    do
        got = mbedtls_ssl_read(&tls.ssl, octets, most);
    while (got == MBEDTLS_ERR_SSL_WANT_READ || got == MBEDTLS_ERR_SSL_WANT_WRITE);
    return got;
}

static void close_connection(void *self)
{
    (void)self;
    mbedtls_ssl_close_notify(&tls.ssl);
    mbedtls_net_free(&tls.net);
    mbedtls_ssl_free(&tls.ssl);
}

static int parse_key(const char *path)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_pk_parse_keyfile(&tls.key, path, NULL, mbedtls_ctr_drbg_random, &tls.random);
#else
    return mbedtls_pk_parse_keyfile(&tls.key, path, NULL);
#endif
}

int transport_set_up(const struct transport_files *files, struct mailgate_transport *transport)
{
    int error;

    tls.files = *files;
    mbedtls_entropy_init(&tls.entropy);
    mbedtls_ctr_drbg_init(&tls.random);
    mbedtls_x509_crt_init(&tls.ca);
    mbedtls_x509_crt_init(&tls.certificate);
    mbedtls_pk_init(&tls.key);
    mbedtls_ssl_config_init(&tls.config);
    error = mbedtls_ctr_drbg_seed(&tls.random, mbedtls_entropy_func, &tls.entropy, NULL, 0);
    if (error != 0)
        return tell("random numbers", error);
    if ((error = mbedtls_x509_crt_parse_file(&tls.ca, files->ca)) != 0)
        return tell(files->ca, error);
    if ((error = mbedtls_x509_crt_parse_file(&tls.certificate, files->certificate)) != 0)
        return tell(files->certificate, error);
    if ((error = parse_key(files->key)) != 0)
        return tell(files->key, error);
    error = mbedtls_ssl_config_defaults(&tls.config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                        MBEDTLS_SSL_PRESET_DEFAULT);
    if (error == 0)
        error = mbedtls_ssl_conf_own_cert(&tls.config, &tls.certificate, &tls.key);
    if (error == 0)
        error = mbedtls_ssl_conf_max_frag_len(&tls.config, MBEDTLS_SSL_MAX_FRAG_LEN_1024);
    if (error != 0)
        return tell("TLS", error);
    mbedtls_ssl_conf_min_version(&tls.config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(&tls.config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_authmode(&tls.config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&tls.config, &tls.ca, NULL);
    mbedtls_ssl_conf_rng(&tls.config, mbedtls_ctr_drbg_random, &tls.random);
    mbedtls_ssl_conf_read_timeout(&tls.config, TRANSPORT_SECONDS * 1000);
    transport->self = NULL;
    transport->open = open_connection;
    transport->write = write_all;
    transport->read = read_some;
    transport->close = close_connection;
    return 0;
}

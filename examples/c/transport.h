/* A TLS stack behind the four functions of mailgate.h: one of transport_*.c implements this. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include "mailgate.h"

#ifndef TRANSPORT_SECONDS
#define TRANSPORT_SECONDS 60 /* of silence, or of a write that doesn't get on; the gateway answers within 30 */
#endif

struct transport_files {
    const char *host;
    const char *port;
    const char *ca;
    const char *certificate;
    const char *key;
};

/* Read the files, once; 0, or -1 with the reason on standard error. */
int transport_set_up(const struct transport_files *files, struct mailgate_transport *transport);

#endif

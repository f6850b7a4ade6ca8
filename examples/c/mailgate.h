/*
 * A client of the mailgate line protocol for devices: no heap, no files, no TLS of its own.
 *
 * The protocol is told in docs/line-protocol.md. What a device has to do is this: make an idempotency key and
 * store it, send the message, look at the first digit of the reply, and on 4 send the very same message again
 * later. A connection that is lost before the reply counts as 4.
 */
#ifndef MAILGATE_H
#define MAILGATE_H

#include <stddef.h>
#include <stdint.h>

#define MAILGATE_REPLY 64 /* octets of a reply that are kept; the rest of its line is skipped */
#define MAILGATE_WRITE 256 /* octets that are collected for one write, since each is a TLS record */

/* The four functions of a TLS stack. `self` is handed to each. */
struct mailgate_transport {
    void *self;
    int (*open)(void *self); /* 0 when the handshake is complete and the gateway is who it should be */
    int (*write)(void *self, const void *octets, size_t count); /* 0 when all were written */
    int (*read)(void *self, void *octets, size_t most); /* how many were read; 0 or less when it's lost */
    void (*close)(void *self);
};

/* What to do with the message, which is also the first digit of a reply. */
enum mailgate_outcome {
    MAILGATE_FORGET = 2, /* the gateway has it on disk, and the device's part is done */
    MAILGATE_LATER = 4, /* send it again, with the same key, after mailgate_wait() */
    MAILGATE_GIVE_UP = 5 /* it will never be taken as it is */
};

struct mailgate {
    struct mailgate_transport transport;
    uint32_t retry; /* seconds that the last reply asks to wait, or 0 */
    uint32_t time; /* the gateway's clock at the greeting, in seconds since 1970, or 0 */
    int lost; /* whether the connection is */
    size_t pending; /* octets of `out` that are not written yet */
    char out[MAILGATE_WRITE];
    char reply[MAILGATE_REPLY]; /* the last reply, cut, with a NUL behind it */
};

/* Connect, and read the greeting: MAILGATE_FORGET means that the certificate was accepted. */
enum mailgate_outcome mailgate_open(struct mailgate *gate, const struct mailgate_transport *transport);

/* Begin a message. */
void mailgate_mail(struct mailgate *gate, const char *key);

/* Write a field, like FROM or TEXT, with its octets counted: nothing in them can be taken for a command. */
void mailgate_field(struct mailgate *gate, const char *verb, const void *octets, size_t count);

/* The same for a string. */
void mailgate_string(struct mailgate *gate, const char *verb, const char *text);

/*
 * Write a file: begin it with its size and "type name", like "image/jpeg camera.jpg", write exactly so many
 * octets in as many pieces as suit, and end it.
 */
void mailgate_begin(struct mailgate *gate, const char *verb, uint32_t count, const char *type_and_name);
void mailgate_octets(struct mailgate *gate, const void *octets, size_t count);
void mailgate_end(struct mailgate *gate);

/* Ask whether the message would be taken as it stands, before an upload. */
enum mailgate_outcome mailgate_check(struct mailgate *gate);

/* Hand the message over. */
enum mailgate_outcome mailgate_send(struct mailgate *gate);

void mailgate_close(struct mailgate *gate);

/*
 * Seconds to wait before the next try: what the reply asked for, else 5 doubling up to an hour; up to a quarter
 * less at `random`, so that a thousand devices which lost power together don't come back together. `tries` counts
 * those that were made, from 1.
 */
uint32_t mailgate_wait(const struct mailgate *gate, uint32_t tries, uint32_t random);

#endif

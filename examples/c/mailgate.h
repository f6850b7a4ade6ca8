/*
 * A client of the mailgate line protocol for devices: no heap, no files, no TLS of its own.
 *
 * The protocol is told in docs/line-protocol.md. What a device has to do is this: make an idempotency key and
 * store it, send the message, look at the first digit of the reply, and on 4 send the very same message again
 * later. A connection that is lost before the reply counts as 4, and so does a greeting that is no welcome.
 */
#ifndef MAILGATE_H
#define MAILGATE_H

#include <stddef.h>
#include <stdint.h>

#define MAILGATE_REPLY 64 /* octets of a reply that are kept; the rest of its line is skipped */
#define MAILGATE_WRITE 256 /* octets that are collected for one write, since each is a TLS record */
#define MAILGATE_LARGEST_COUNT 999999999 /* a count has nine digits */

/*
 * The four functions of a TLS stack. `self` is handed to each. None may wait forever, and `read` must still give what
 * has come when a `write` has failed: a gateway that closes says why.
 */
struct mailgate_transport {
    void *self;
    int (*open)(void *self); /* 0 when the handshake is complete and the gateway is who it should be */
    int (*write)(void *self, const void *octets, size_t count); /* 0 when all were written */
    int (*read)(void *self, void *octets, size_t most); /* how many were read; 0 or less when it's lost */
    void (*close)(void *self);
};

/* What to do with the message: the first digit of a reply about it. */
enum mailgate_outcome {
    MAILGATE_FORGET = 2, /* the gateway has it on disk, and the device's part is done */
    MAILGATE_LATER = 4, /* send it again, with the same key, after mailgate_wait() */
    MAILGATE_GIVE_UP = 5 /* it will never be taken as it is */
};

struct mailgate {
    struct mailgate_transport transport;
    uint32_t retry; /* seconds that the last reply asks to wait, or 0 */
    uint32_t time; /* the gateway's clock when it last told it, in seconds since 1970, or 0 */
    uint32_t size; /* octets that a composed message may have, as the greeting says, or 0 */
    unsigned char unfit; /* the message can't be said in the protocol, and its rest was not written */
    unsigned char mute; /* a write has failed; there may be a reply to read */
    unsigned char lost; /* nothing more can be read either */
    unsigned char barred; /* the last reply was 535: no message of this device is taken until somebody acts */
    size_t pending; /* octets of `out` that are not written yet */
    char out[MAILGATE_WRITE];
    char reply[MAILGATE_REPLY]; /* the last reply, cut, with a NUL behind it */
};

/*
 * Connect and read the greeting; 0 when the gateway welcomes the device. If not, the message is not at fault,
 * whatever digit the greeting begins with: as MAILGATE_LATER.
 */
int mailgate_open(struct mailgate *gate, const struct mailgate_transport *transport);

/*
 * Whether a message can be as small as the gateway wants it, asked before an upload: octets of its texts and of its
 * files. Where it's a close thing the answer is yes, and the gateway decides.
 */
int mailgate_fits(const struct mailgate *gate, uint64_t texts, uint64_t files);

/* Whether a string is an idempotency key: 1 to 64 of A-Z a-z 0-9 . _ : - */
int mailgate_is_key(const char *key);

/* Whether a string can stand in a line as the type of a file: up to 255 octets, no space, no control character. */
int mailgate_is_type(const char *type);

/* The same for the name of a file, which may have spaces. */
int mailgate_is_name(const char *name);

/* Begin a message. What is no key makes it unfit. */
void mailgate_mail(struct mailgate *gate, const char *key);

/*
 * Write a field, like FROM or TEXT, with its octets counted: nothing in them can be taken for a command. More octets
 * than MAILGATE_LARGEST_COUNT make the message unfit.
 */
void mailgate_field(struct mailgate *gate, const char *verb, const void *octets, size_t count);

/* The same for a string. */
void mailgate_string(struct mailgate *gate, const char *verb, const char *text);

/*
 * Write a file: begin it with its size, its type and its name, write exactly so many octets in as many pieces as
 * suit, and end it. A type or name that can't stand in a line makes the message unfit; a TEXT that is written this
 * way has neither, but NULL.
 */
void mailgate_begin(struct mailgate *gate, const char *verb, uint64_t count, const char *type, const char *name);
void mailgate_octets(struct mailgate *gate, const void *octets, size_t count);
void mailgate_end(struct mailgate *gate);

/* Ask whether the message would be taken as it stands, before an upload. */
enum mailgate_outcome mailgate_check(struct mailgate *gate);

/* Hand the message over. An unfit one is not, and to be given up. */
enum mailgate_outcome mailgate_send(struct mailgate *gate);

void mailgate_close(struct mailgate *gate);

/*
 * Seconds to wait before the next try: what the reply asked for, else an hour where somebody has to act first, else 5
 * doubling up to an hour; up to a quarter of it at `random`, so that a thousand devices which lost power together
 * don't come back together. `tries` counts those that were made, from 1.
 */
uint32_t mailgate_wait(const struct mailgate *gate, uint32_t tries, uint32_t random);

#endif

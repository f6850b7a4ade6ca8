/*
 * Sends one message, with a file if there is one, as a device would.
 *
 * Exit status: 0 the gateway has it, 4 it couldn't be handed over in so many tries, 5 it never will be, 64 the
 * arguments can't be used.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport.h"

#define PIECE 1024 /* octets of a file in memory at a time, and in a TLS record */
#define BAD_USAGE 64

struct message {
    const char *key, *from, *to, *subject, *text, *path, *type;
    FILE *file;
    off_t size;
};

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* Open the file, and remember its size: each try has to send the same octets. 0, or -1 with the reason told. */
static int open_file(struct message *message)
{
    struct stat status;

    if (stat(message->path, &status) != 0) {
        perror(message->path);
        return -1;
    }
    if (!S_ISREG(status.st_mode)) {
        fprintf(stderr, "%s is not a file\n", message->path);
        return -1;
    }
    message->file = fopen(message->path, "rb");
    if (message->file == NULL) {
        perror(message->path);
        return -1;
    }
    message->size = status.st_size;
    return 0;
}

/* Stream the file; 0, or -1 where it can't be read as long as it was, with the reason told. */
static int write_file(struct mailgate *gate, const struct message *message)
{
    char piece[PIECE];
    off_t left = message->size;

    rewind(message->file);
    mailgate_begin(gate, "FILE", (uint64_t)message->size, message->type, name_of(message->path));
    while (left > 0 && !gate->mute) {
        size_t got = fread(piece, 1, left < PIECE ? (size_t)left : PIECE, message->file);

        if (got == 0) {
            fprintf(stderr, "%s: %s\n", message->path,
                    ferror(message->file) ? strerror(errno) : "it has become shorter");
            return -1;
        }
        mailgate_octets(gate, piece, got);
        left -= (off_t)got;
    }
    mailgate_end(gate);
    return 0;
}

static void print_reply(const struct mailgate *gate)
{
    printf("%s\n", gate->lost ? "lost" : gate->reply);
    fflush(stdout);
    if (gate->barred)
        fputs("the gateway takes nothing from this device for now; the message is kept\n", stderr);
}

/* One try. */
static enum mailgate_outcome hand_over(struct mailgate *gate, const struct mailgate_transport *transport,
                                       const struct message *message)
{
    enum mailgate_outcome outcome;

    if (mailgate_open(gate, transport) != 0) {
        print_reply(gate);
        return MAILGATE_LATER;
    }
    if (!mailgate_fits(gate, strlen(message->text), (uint64_t)message->size)) {
        fprintf(stderr, "the message is too large: the gateway takes %lu octets\n", (unsigned long)gate->size);
        return MAILGATE_GIVE_UP;
    }
    mailgate_mail(gate, message->key);
    mailgate_string(gate, "FROM", message->from);
    mailgate_string(gate, "TO", message->to);
    mailgate_string(gate, "SUBJ", message->subject);
    mailgate_string(gate, "TEXT", message->text);
    if (message->path != NULL && write_file(gate, message) != 0)
        return MAILGATE_GIVE_UP;
    outcome = mailgate_send(gate);
    print_reply(gate);
    return outcome;
}

static uint32_t random_number(void)
{
    uint32_t number = 0;
    FILE *source = fopen("/dev/urandom", "rb");

    if (source != NULL) {
        if (fread(&number, sizeof number, 1, source) != 1)
            number = (uint32_t)getpid();
        fclose(source);
    }
    return number;
}

/* Try so many times; return the exit status. */
static int deliver(const struct message *message, const struct mailgate_transport *transport, uint32_t tries)
{
    static struct mailgate gate;
    uint32_t made;

    for (made = 1;; made++) {
        enum mailgate_outcome outcome = hand_over(&gate, transport, message);
        uint32_t wait = mailgate_wait(&gate, made, random_number());

        mailgate_close(&gate);
        if (outcome == MAILGATE_FORGET)
            return 0;
        if (outcome == MAILGATE_GIVE_UP)
            return 5;
        if (made >= tries)
            return 4;
        fprintf(stderr, "again in %lu s\n", (unsigned long)wait);
        sleep(wait);
    }
}

static int usage(void)
{
    fputs("usage: send [-t TRIES] HOST PORT CA CERTIFICATE PRIVATE_KEY "
          "IDEMPOTENCY_KEY FROM TO SUBJECT TEXT [FILE TYPE]\n",
          stderr);
    return BAD_USAGE;
}

/* Whether what stands in a line uncounted can stand there; if not, why is told. */
static int is_sound(const struct message *message)
{
    const char *fault = NULL;

    if (!mailgate_is_key(message->key))
        fault = "an idempotency key is 1 to 64 of A-Z a-z 0-9 . _ : -";
    else if (message->path != NULL && !mailgate_is_name(name_of(message->path)))
        fault = "a file's name has 1 to 255 octets and no control characters";
    else if (message->path != NULL && !mailgate_is_type(message->type))
        fault = "a file's type has 1 to 255 octets and neither spaces nor control characters";
    if (fault != NULL)
        fprintf(stderr, "%s\n", fault);
    return fault == NULL;
}

/* The number of tries, or 0 where the text is none. */
static uint32_t tries_of(const char *text)
{
    size_t length = strspn(text, "0123456789");

    return length <= 9 && text[length] == '\0' ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    struct mailgate_transport transport;
    struct transport_files files;
    struct message message = {0};
    uint32_t tries = 10;

    if (argc > 2 && strcmp(argv[1], "-t") == 0) {
        tries = tries_of(argv[2]);
        argv += 2;
        argc -= 2;
    }
    if (tries == 0 || (argc != 11 && argc != 13))
        return usage();
    files.host = argv[1];
    files.port = argv[2];
    files.ca = argv[3];
    files.certificate = argv[4];
    files.key = argv[5];
    message.key = argv[6];
    message.from = argv[7];
    message.to = argv[8];
    message.subject = argv[9];
    message.text = argv[10];
    if (argc == 13) {
        message.path = argv[11];
        message.type = argv[12];
    }
    if (!is_sound(&message))
        return BAD_USAGE;
    if (message.path != NULL && open_file(&message) != 0)
        return 5;
    signal(SIGPIPE, SIG_IGN); /* a lost connection is no reason to die */
    if (transport_set_up(&files, &transport) != 0)
        return 5;
    return deliver(&message, &transport, tries);
}

/*
 * Sends one message, with a file if there is one, as a device would.
 *
 * Exit status: 0 the gateway has it, 4 it couldn't be handed over in so many tries, 5 it never will be.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport.h"

#define PIECE 1024 /* octets of a file in memory at a time, and in a TLS record */

struct message {
    const char *key, *from, *to, *subject, *text, *path, *type;
};

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* Stream the file; 0, or -1 where it can't be read as long as it was. */
static int write_file(struct mailgate *gate, const struct message *message)
{
    char piece[PIECE], type_and_name[256];
    struct stat status;
    off_t left;
    FILE *file = fopen(message->path, "rb");

    if (file == NULL || fstat(fileno(file), &status) != 0) {
        perror(message->path);
        return -1;
    }
    snprintf(type_and_name, sizeof type_and_name, "%s %s", message->type, name_of(message->path));
    mailgate_begin(gate, "FILE", (uint32_t)status.st_size, type_and_name);
    for (left = status.st_size; left > 0 && !gate->lost;) {
        size_t got = fread(piece, 1, left < PIECE ? (size_t)left : PIECE, file);

        if (got == 0)
            break;
        mailgate_octets(gate, piece, got);
        left -= (off_t)got;
    }
    fclose(file);
    if (left > 0 && !gate->lost) {
        fprintf(stderr, "%s has become shorter\n", message->path);
        return -1;
    }
    mailgate_end(gate);
    return 0;
}

/* One try. */
static enum mailgate_outcome hand_over(struct mailgate *gate, const struct mailgate_transport *transport,
                                       const struct message *message)
{
    enum mailgate_outcome outcome = mailgate_open(gate, transport);

    if (outcome != MAILGATE_FORGET)
        return outcome;
    mailgate_mail(gate, message->key);
    mailgate_string(gate, "FROM", message->from);
    mailgate_string(gate, "TO", message->to);
    mailgate_string(gate, "SUBJ", message->subject);
    mailgate_string(gate, "TEXT", message->text);
    if (message->path != NULL && write_file(gate, message) != 0)
        return MAILGATE_GIVE_UP;
    return mailgate_send(gate);
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

int main(int argc, char **argv)
{
    static struct mailgate gate;
    struct mailgate_transport transport;
    struct transport_files files;
    struct message message = {0};
    unsigned long tries = 10, made;

    if (argc > 2 && strcmp(argv[1], "-t") == 0) {
        tries = strtoul(argv[2], NULL, 10);
        argv += 2;
        argc -= 2;
    }
    if (argc != 11 && argc != 13) {
        fputs("usage: send [-t TRIES] HOST PORT CA CERTIFICATE PRIVATE_KEY "
              "IDEMPOTENCY_KEY FROM TO SUBJECT TEXT [FILE TYPE]\n",
              stderr);
        return 64;
    }
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
    signal(SIGPIPE, SIG_IGN); /* a lost connection is no reason to die */
    if (transport_set_up(&files, &transport) != 0)
        return 5;
    for (made = 1;; made++) {
        enum mailgate_outcome outcome = hand_over(&gate, &transport, &message);
        uint32_t wait = mailgate_wait(&gate, (uint32_t)made, random_number());

        printf("%s\n", gate.lost ? "lost" : gate.reply);
        fflush(stdout);
        mailgate_close(&gate);
        if (outcome == MAILGATE_FORGET)
            return 0;
        if (outcome == MAILGATE_GIVE_UP)
            return 5;
        if (made >= tries)
            return 4;
        sleep(wait);
    }
}

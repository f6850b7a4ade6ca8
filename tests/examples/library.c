/*
 * Calls mailgate.c over a transport that is memory: what the gateway says comes from standard input, and what the
 * device writes goes to standard output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailgate.h"

static int open_memory(void *self)
{
    (void)self;
    return 0;
}

static int write_memory(void *self, const void *octets, size_t count)
{
    (void)self;
    return fwrite(octets, 1, count, stdout) == count ? 0 : -1;
}

static int read_memory(void *self, void *octets, size_t most)
{
    (void)self;
    return (int)fread(octets, 1, most, stdin);
}

static void close_memory(void *self)
{
    (void)self;
}

static const struct mailgate_transport memory = {NULL, open_memory, write_memory, read_memory, close_memory};

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

/* wait RETRY BARRED TRIES RANDOM */
static void tell_wait(char **arguments)
{
    struct mailgate gate = {0};

    gate.retry = number(arguments[0]);
    gate.barred = arguments[1][0] == '1';
    printf("%lu\n", (unsigned long)mailgate_wait(&gate, number(arguments[2]), number(arguments[3])));
}

/* fits SIZE TEXTS FILES */
static void tell_fits(char **arguments)
{
    struct mailgate gate = {0};

    gate.size = number(arguments[0]);
    printf("%d\n", mailgate_fits(&gate, strtoull(arguments[1], NULL, 10), strtoull(arguments[2], NULL, 10)));
}

/* message KEY COUNT TYPE NAME: what is written of it, and what comes of it on a line of its own */
static void tell_message(char **arguments)
{
    static struct mailgate gate;
    enum mailgate_outcome outcome;

    if (mailgate_open(&gate, &memory) != 0)
        exit(EXIT_FAILURE);
    mailgate_mail(&gate, arguments[0]);
    mailgate_begin(&gate, "FILE", strtoull(arguments[1], NULL, 10), arguments[2], arguments[3]);
    mailgate_end(&gate);
    outcome = mailgate_send(&gate);
    printf("outcome=%d\n", outcome);
}

/* replies: what is understood of the greeting and of one reply, each on a line of its own */
static void tell_replies(void)
{
    static struct mailgate gate;
    int opened = mailgate_open(&gate, &memory);

    printf("opened=%d\n", opened);
    if (opened == 0) {
        enum mailgate_outcome outcome = mailgate_check(&gate);

        printf("outcome=%d\n", outcome);
    }
    printf("size=%lu\ntime=%lu\nretry=%lu\n", (unsigned long)gate.size, (unsigned long)gate.time,
           (unsigned long)gate.retry);
    printf("lost=%d\nbarred=%d\nreply=%s\n", gate.lost, gate.barred, gate.reply);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "wait") == 0)
        tell_wait(argv + 2);
    else if (argc == 5 && strcmp(argv[1], "fits") == 0)
        tell_fits(argv + 2);
    else if (argc == 6 && strcmp(argv[1], "message") == 0)
        tell_message(argv + 2);
    else if (argc == 2 && strcmp(argv[1], "replies") == 0)
        tell_replies();
    else
        return EXIT_FAILURE;
    return EXIT_SUCCESS;
}

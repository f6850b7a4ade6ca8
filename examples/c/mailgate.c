#include "mailgate.h"

#include <string.h>

static void write_record(struct mailgate *gate, const char *octets, size_t count)
{
    if (count > 0 && !gate->lost && gate->transport.write(gate->transport.self, octets, count) != 0)
        gate->lost = 1;
}

static void flush(struct mailgate *gate)
{
    write_record(gate, gate->out, gate->pending);
    gate->pending = 0;
}

static void write_octets(struct mailgate *gate, const char *octets, size_t count)
{
    /* A large piece makes a record of its own. */
    if (count >= sizeof gate->out) {
        flush(gate);
        write_record(gate, octets, count);
        return;
    }
    while (count > 0 && !gate->lost) {
        size_t room = sizeof gate->out - gate->pending;
        size_t now = count < room ? count : room;

        memcpy(gate->out + gate->pending, octets, now);
        gate->pending += now;
        octets += now;
        count -= now;
        if (gate->pending == sizeof gate->out)
            flush(gate);
    }
}

static void write_string(struct mailgate *gate, const char *text)
{
    write_octets(gate, text, strlen(text));
}

static void write_number(struct mailgate *gate, uint32_t number)
{
    char digits[10];
    size_t first = sizeof digits;

    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    write_octets(gate, digits + first, sizeof digits - first);
}

/* Read one line into `reply`, as much of it as fits; 0 when the connection is lost. */
static int read_line(struct mailgate *gate)
{
    size_t used = 0;
    char octet;

    for (;;) {
        if (gate->lost || gate->transport.read(gate->transport.self, &octet, 1) != 1) {
            gate->lost = 1;
            return 0;
        }
        if (octet == '\n')
            break;
        if (used < sizeof gate->reply - 1)
            gate->reply[used++] = octet;
    }
    gate->reply[used] = '\0';
    return 1;
}

/* The number behind a word like "retry=", or 0. */
static uint32_t number_behind(const char *line, const char *word)
{
    const char *at = strstr(line, word);
    uint32_t number = 0;

    if (at == NULL)
        return 0;
    for (at += strlen(word); *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint32_t)(*at - '0');
    return number;
}

/* Read a reply: lines with a hyphen behind the code are details. */
static enum mailgate_outcome read_reply(struct mailgate *gate)
{
    flush(gate);
    gate->retry = 0;
    do {
        if (!read_line(gate))
            return MAILGATE_LATER;
    } while (gate->reply[0] != '\0' && gate->reply[1] != '\0' && gate->reply[2] != '\0' && gate->reply[3] == '-');
    gate->retry = number_behind(gate->reply, " retry=");
    switch (gate->reply[0]) {
    case '2':
        return MAILGATE_FORGET;
    case '5':
        return MAILGATE_GIVE_UP;
    default:
        return MAILGATE_LATER;
    }
}

enum mailgate_outcome mailgate_open(struct mailgate *gate, const struct mailgate_transport *transport)
{
    enum mailgate_outcome greeted;

    memset(gate, 0, sizeof *gate);
    gate->transport = *transport;
    if (gate->transport.open(gate->transport.self) != 0) {
        gate->lost = 1;
        return MAILGATE_LATER;
    }
    greeted = read_reply(gate);
    gate->time = number_behind(gate->reply, " time=");
    return greeted;
}

void mailgate_mail(struct mailgate *gate, const char *key)
{
    write_string(gate, "MAIL ");
    write_string(gate, key);
    write_string(gate, "\n");
}

void mailgate_begin(struct mailgate *gate, const char *verb, uint32_t count, const char *type_and_name)
{
    write_string(gate, verb);
    write_string(gate, "#");
    write_number(gate, count);
    if (type_and_name[0] != '\0') {
        write_string(gate, " ");
        write_string(gate, type_and_name);
    }
    write_string(gate, "\n");
}

void mailgate_octets(struct mailgate *gate, const void *octets, size_t count)
{
    write_octets(gate, octets, count);
}

void mailgate_end(struct mailgate *gate)
{
    write_string(gate, "\n");
}

void mailgate_field(struct mailgate *gate, const char *verb, const void *octets, size_t count)
{
    mailgate_begin(gate, verb, (uint32_t)count, "");
    mailgate_octets(gate, octets, count);
    mailgate_end(gate);
}

void mailgate_string(struct mailgate *gate, const char *verb, const char *text)
{
    mailgate_field(gate, verb, text, strlen(text));
}

enum mailgate_outcome mailgate_check(struct mailgate *gate)
{
    write_string(gate, "CHECK\n");
    return read_reply(gate);
}

enum mailgate_outcome mailgate_send(struct mailgate *gate)
{
    write_string(gate, "SEND\n");
    return read_reply(gate);
}

void mailgate_close(struct mailgate *gate)
{
    gate->transport.close(gate->transport.self);
}

uint32_t mailgate_wait(const struct mailgate *gate, uint32_t tries, uint32_t random)
{
    uint32_t wait = 3600;

    if (gate->retry > 0)
        wait = gate->retry;
    else if (tries < 11)
        wait = UINT32_C(5) << (tries - 1) < 3600 ? UINT32_C(5) << (tries - 1) : 3600;
    /* What the gateway asked for is the least. */
    return gate->retry > 0 ? wait + random % (wait / 4 + 1) : wait - random % (wait / 4 + 1);
}

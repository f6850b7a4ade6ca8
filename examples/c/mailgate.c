#include "mailgate.h"

#include <string.h>

#define LONGEST_KEY 64
#define LONGEST_ARGUMENT 255 /* type and name, each, lest a line has more than 1,024 octets */
#define LONGEST_WAIT 3600
#define LEAST_HEADER 256 /* no message has fewer octets of header fields */

static void write_record(struct mailgate *gate, const char *octets, size_t count)
{
    if (count > 0 && !gate->mute && gate->transport.write(gate->transport.self, octets, count) != 0)
        gate->mute = 1;
}

static void flush(struct mailgate *gate)
{
    write_record(gate, gate->out, gate->pending);
    gate->pending = 0;
}

static void write_octets(struct mailgate *gate, const char *octets, size_t count)
{
    if (gate->unfit)
        return;
    /* A large piece makes a record of its own. */
    if (count >= sizeof gate->out) {
        flush(gate);
        write_record(gate, octets, count);
        return;
    }
    while (count > 0) {
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

/* A word of a reply, like retry=30, taken octet by octet: what is kept of the reply may end before it. */
struct word {
    char name[5];
    size_t length; /* of the name, which may be longer than what is kept of it */
    uint32_t *number; /* where the digits go, or NULL */
};

static uint32_t *number_called(struct mailgate *gate, const struct word *word)
{
    if (word->length == 5 && memcmp(word->name, "retry", 5) == 0)
        return &gate->retry;
    if (word->length == 4 && memcmp(word->name, "time", 4) == 0)
        return &gate->time;
    if (word->length == 4 && memcmp(word->name, "size", 4) == 0)
        return &gate->size;
    return NULL;
}

static void add_digit(uint32_t *number, char digit)
{
    *number = *number > (UINT32_MAX - 9) / 10 ? UINT32_MAX : *number * 10 + (uint32_t)(digit - '0');
}

static void take_octet(struct mailgate *gate, struct word *word, char octet)
{
    if (word->number != NULL && octet >= '0' && octet <= '9') {
        add_digit(word->number, octet);
        return;
    }
    word->number = octet == '=' ? number_called(gate, word) : NULL;
    if (word->number != NULL)
        *word->number = 0;
    if (word->length < sizeof word->name)
        word->name[word->length] = octet;
    word->length = octet == ' ' ? 0 : word->length + 1;
}

/* Read one line into `reply`, as much of it as fits; 0 when the connection is lost. */
static int read_line(struct mailgate *gate)
{
    struct word word = {{0}, 0, NULL};
    size_t used = 0;
    char octet;

    memset(gate->reply, 0, sizeof gate->reply);
    for (;;) {
        if (gate->transport.read(gate->transport.self, &octet, 1) != 1) {
            gate->lost = 1;
            return 0;
        }
        if (octet == '\n')
            return 1;
        if (used < sizeof gate->reply - 1)
            gate->reply[used++] = octet;
        /* The numbers of a detail are about something else. */
        if (gate->reply[3] == ' ')
            take_octet(gate, &word, octet);
    }
}

/* Read a reply: lines with a hyphen behind the code are details. */
static enum mailgate_outcome read_reply(struct mailgate *gate)
{
    gate->retry = 0;
    gate->barred = 0;
    if (gate->unfit)
        return MAILGATE_GIVE_UP;
    flush(gate);
    do {
        if (gate->lost || !read_line(gate)) {
            gate->retry = 0;
            return MAILGATE_LATER;
        }
    } while (gate->reply[3] == '-');
    gate->barred = strncmp(gate->reply, "535", 3) == 0;
    if (gate->reply[0] == '2')
        return MAILGATE_FORGET;
    return gate->reply[0] == '5' && !gate->barred ? MAILGATE_GIVE_UP : MAILGATE_LATER;
}

int mailgate_open(struct mailgate *gate, const struct mailgate_transport *transport)
{
    memset(gate, 0, sizeof *gate);
    gate->transport = *transport;
    if (gate->transport.open(gate->transport.self) != 0) {
        gate->lost = 1;
        return -1;
    }
    return read_reply(gate) == MAILGATE_FORGET ? 0 : -1;
}

int mailgate_fits(const struct mailgate *gate, uint64_t texts, uint64_t files)
{
    uint32_t base64;

    if (texts > MAILGATE_LARGEST_COUNT || files > MAILGATE_LARGEST_COUNT)
        return 0;
    /* Files go on as base64, in lines of 78 octets for each 57. */
    base64 = ((uint32_t)files + 56) / 57 * 78;
    return gate->size == 0 || LEAST_HEADER + (uint32_t)texts + base64 <= gate->size;
}

int mailgate_is_key(const char *key)
{
    size_t length = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-");

    return length > 0 && length <= LONGEST_KEY && key[length] == '\0';
}

static int is_argument(const char *text, unsigned char least)
{
    size_t length;

    for (length = 0; text[length] != '\0'; length++)
        if ((unsigned char)text[length] < least || text[length] == 0x7F)
            return 0;
    return length > 0 && length <= LONGEST_ARGUMENT;
}

int mailgate_is_type(const char *type)
{
    return is_argument(type, ' ' + 1);
}

int mailgate_is_name(const char *name)
{
    return is_argument(name, ' ');
}

void mailgate_mail(struct mailgate *gate, const char *key)
{
    if (!mailgate_is_key(key))
        gate->unfit = 1;
    write_string(gate, "MAIL ");
    write_string(gate, key);
    write_string(gate, "\n");
}

void mailgate_begin(struct mailgate *gate, const char *verb, uint64_t count, const char *type, const char *name)
{
    if (count > MAILGATE_LARGEST_COUNT || (type != NULL && !(mailgate_is_type(type) && mailgate_is_name(name))))
        gate->unfit = 1;
    write_string(gate, verb);
    write_string(gate, "#");
    write_number(gate, (uint32_t)count);
    if (type != NULL) {
        write_string(gate, " ");
        write_string(gate, type);
        write_string(gate, " ");
        write_string(gate, name);
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
    mailgate_begin(gate, verb, count, NULL, NULL);
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
    uint32_t wait = LONGEST_WAIT;

    if (gate->retry > 0) {
        /* What the gateway asked for is the least. */
        uint32_t more = random % (gate->retry / 4 + 1);

        return gate->retry > UINT32_MAX - more ? UINT32_MAX : gate->retry + more;
    }
    if (!gate->barred && tries <= 10)
        wait = UINT32_C(5) << (tries > 0 ? tries - 1 : 0);
    if (wait > LONGEST_WAIT)
        wait = LONGEST_WAIT;
    return wait - random % (wait / 4 + 1);
}

/*
 * A data plane that only counts and stores: one thread, one poll loop, as little work per request as possible, so that what is
 * measured is the client. Listens on a free port of 127.0.0.1 (or on argv[1]), prints it, ends when its standard input does.
 *
 * Any request is answered with the same JSON object, in which each SDK finds the success it looks for. For the benchmark itself:
 *   /__stats      {"requests", "bytes", "connections", "cpu_seconds"} since the start or the last reset, and "quiet_seconds" since
 *                 the last body was stored
 *   /__reset      forgets what was stored and counted; answers with status 200 at once from now on
 *   /__delay/MS   answers MS milliseconds after each request from now on
 *   /__status/N   answers with status N and stores nothing unless N is 200
 *   /__stored     every stored body, each after its length as 8 bytes in the machine's order
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18, FIRST_CONNECTION = 2 };

typedef struct {
    int fd;
    char *buffer;
    size_t length, capacity;
    size_t head, body; /* sizes of the request at the buffer's begin; head is 0 while that is not known */
    bool chunked;
    unsigned unanswered; /* delayed answers that name this connection: it must outlive them */
} Connection;

typedef struct {
    Connection *connection;
    double due;
} Answer;

static Connection **connections;
static struct pollfd *polled; /* standard input, the listening socket, then one for each connection */
static size_t open_count, open_capacity;

static Answer *answers; /* a ring: the delay is the same for all, so they fall due in order */
static size_t first_answer, answer_count, answer_capacity;

static char *stored;
static size_t stored_length, stored_capacity;

static uint64_t requests, bytes, accepted;
static double delay_seconds, cpu_before, stored_at;
static int status = 200;

static char response[512];
static size_t response_length;

static void *must(void *memory) {
    if (!memory) {
        fputs("sink: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static size_t grow(void **memory, size_t capacity, size_t needed, size_t item) {
    if (needed <= capacity) return capacity;
    capacity = needed > 2 * capacity ? needed : 2 * capacity;
    *memory = must(realloc(*memory, capacity * item));
    return capacity;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static void send_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, 0);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
        } else if (sent < 0) {
            return; /* the reader is gone: its connection is closed when it is read next */
        } else {
            data += sent;
            length -= (size_t)sent;
        }
    }
}

static void send_response(int fd, const char *body, size_t length) {
    char head[128];
    int size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", length);
    send_all(fd, head, (size_t)size);
    send_all(fd, body, length);
}

static void set_status(int number) {
    static const char body[] = "{\"status\":1,\"code\":200,\"success\":true,\"error\":null,\"events_ingested\":1,"
                               "\"payload_size_bytes\":1,\"server_upload_time\":1}";
    status = number;
    response_length = (size_t)snprintf(response, sizeof response,
                                       "HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                       number, sizeof body - 1, body);
}

static void store(const char *body, uint64_t length) {
    stored_capacity = grow((void **)&stored, stored_capacity, stored_length + sizeof length + length, 1);
    memcpy(stored + stored_length, &length, sizeof length);
    memcpy(stored + stored_length + sizeof length, body, length);
    stored_length += sizeof length + length;
    stored_at = now();
}

static void control(int fd, const char *path) {
    char text[256];
    int size = snprintf(text, sizeof text, "{}");
    if (!strncmp(path, "stats ", 6)) {
        size = snprintf(text, sizeof text, "{\"requests\":%llu,\"bytes\":%llu,\"connections\":%llu,\"cpu_seconds\":%f,\"quiet_seconds\":%f}",
                        (unsigned long long)requests, (unsigned long long)bytes, (unsigned long long)accepted,
                        cpu_seconds() - cpu_before, now() - stored_at);
    } else if (!strncmp(path, "stored ", 7)) {
        send_response(fd, stored, stored_length);
        return;
    } else if (!strncmp(path, "reset ", 6)) {
        requests = bytes = accepted = stored_length = 0;
        delay_seconds = 0;
        cpu_before = cpu_seconds();
        set_status(200);
    } else if (!strncmp(path, "delay/", 6)) {
        delay_seconds = atof(path + 6) / 1000;
    } else if (!strncmp(path, "status/", 7)) {
        set_status(atoi(path + 7));
    }
    send_response(fd, text, (size_t)size);
}

static void answer_later(Connection *c) {
    if (answer_count == answer_capacity) {
        size_t bigger = answer_capacity ? 2 * answer_capacity : 1024;
        Answer *ring = must(malloc(bigger * sizeof *ring));
        for (size_t i = 0; i < answer_count; i++) ring[i] = answers[(first_answer + i) % answer_capacity];
        free(answers);
        answers = ring;
        answer_capacity = bigger;
        first_answer = 0;
    }
    answers[(first_answer + answer_count++) % answer_capacity] = (Answer){c, now() + delay_seconds};
    c->unanswered++;
}

static void handle(Connection *c, const char *body, size_t length) {
    const char *path = memchr(c->buffer, ' ', c->head);
    if (path && !strncmp(path + 1, "/__", 3)) {
        control(c->fd, path + 4);
        return;
    }
    requests++;
    bytes += length;
    if (status == 200) store(body, length);
    if (delay_seconds > 0) answer_later(c);
    else send_all(c->fd, response, response_length);
}

/* Read the head of the request at the buffer's begin, if it is there. */
static void read_head(Connection *c) {
    char *end = memmem(c->buffer, c->length, "\r\n\r\n", 4);
    if (!end) return;
    c->head = (size_t)(end + 4 - c->buffer);
    c->body = 0;
    c->chunked = false;
    for (char *line = c->buffer; line < end; line = (char *)memchr(line, '\n', (size_t)(end + 2 - line)) + 1) {
        if (!strncasecmp(line, "content-length:", 15)) c->body = strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding:", 18)) c->chunked = true;
    }
}

/* Join the chunks in place. Return the bytes that they took, or 0 while some are missing. */
static size_t join_chunks(Connection *c) {
    char *from = c->buffer + c->head, *end = c->buffer + c->length;
    for (;;) { /* whole? */
        char *line = memmem(from, (size_t)(end - from), "\r\n", 2);
        if (!line) return 0;
        size_t size = strtoul(from, NULL, 16);
        if ((size_t)(end - line) < size + 4) return 0;
        from = line + size + 4;
        if (!size) break;
    }
    size_t used = (size_t)(from - c->buffer) - c->head;
    char *to = from = c->buffer + c->head;
    for (size_t size; (size = strtoul(from, NULL, 16)); from += size + 2) {
        from = (char *)memmem(from, (size_t)(end - from), "\r\n", 2) + 2;
        memmove(to, from, size);
        to += size;
    }
    c->body = (size_t)(to - c->buffer) - c->head;
    return used;
}

static void handle_requests(Connection *c) {
    for (;;) {
        if (!c->head) read_head(c);
        if (!c->head) return;
        size_t used = c->chunked ? join_chunks(c) : c->body;
        if (c->chunked ? !used : c->length < c->head + used) return;
        handle(c, c->buffer + c->head, c->body);
        c->length -= c->head + used;
        memmove(c->buffer, c->buffer + c->head + used, c->length);
        c->head = 0;
    }
}

static void release(Connection *c) {
    if (c->fd < 0 && !c->unanswered) free(c);
}

static double send_due_answers(void) { /* return the seconds until the next, or -1 */
    while (answer_count) {
        Answer *next = &answers[first_answer];
        double left = next->due - now();
        if (left > 0) return left;
        Connection *c = next->connection;
        first_answer = (first_answer + 1) % answer_capacity;
        answer_count--;
        c->unanswered--;
        if (c->fd >= 0) send_all(c->fd, response, response_length);
        release(c);
    }
    return -1;
}

static void open_connection(int listening) {
    int fd = accept(listening, NULL, NULL), one = 1;
    if (fd < 0) return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    size_t needed = FIRST_CONNECTION + open_count + 1;
    if (needed > open_capacity) {
        connections = must(realloc(connections, 2 * needed * sizeof *connections));
        open_capacity = grow((void **)&polled, open_capacity, 2 * needed, sizeof *polled);
    }
    Connection *c = connections[open_count] = must(calloc(1, sizeof *c));
    polled[FIRST_CONNECTION + open_count++] = (struct pollfd){.fd = c->fd = fd, .events = POLLIN};
    accepted++;
}

static bool receive(Connection *c) {
    c->capacity = grow((void **)&c->buffer, c->capacity, c->length + READ_BYTES, 1);
    ssize_t got = recv(c->fd, c->buffer + c->length, READ_BYTES, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    c->length += (size_t)got;
    if (got) handle_requests(c);
    return got > 0;
}

static void close_connection(size_t index) {
    Connection *c = connections[index];
    close(c->fd);
    c->fd = -1;
    free(c->buffer);
    connections[index] = connections[--open_count];
    polled[FIRST_CONNECTION + index] = polled[FIRST_CONNECTION + open_count];
    release(c);
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 1024)) {
        perror("sink");
        exit(1);
    }
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    set_status(200);
    stored_at = now();
    open_capacity = grow((void **)&polled, 0, 16, sizeof *polled);
    connections = must(malloc(open_capacity * sizeof *connections));
    polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = listen_on(count > 1 ? atoi(arguments[1]) : 0), .events = POLLIN};
    for (;;) {
        double wait = send_due_answers();
        poll(polled, (nfds_t)(FIRST_CONNECTION + open_count), wait < 0 ? -1 : (int)(wait * 1000) + 1);
        if (polled[0].revents) return 0; /* nothing is ever written to it: it has ended, and so has our parent */
        for (size_t i = open_count; i-- > 0;) /* downwards: closing moves the last one here, which was seen already */
            if (polled[FIRST_CONNECTION + i].revents && !receive(connections[i])) close_connection(i);
        if (polled[1].revents) open_connection(polled[1].fd);
    }
}

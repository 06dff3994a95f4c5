/* Bytes to one HTTP/1.x request: pure, knows neither sockets nor clocks. llhttp reads the head and the
 * chunks; what a request may be is decided here, strictly: what two programs could read in two ways is
 * refused.
 *
 * Ownership: the request belongs to the caller and its slices point into the bytes that were fed, which stay
 * where they are until the request is done with, or are announced as moved by http_parser_move. A chunked
 * body, and one that was spilled, lies in `body`, which belongs to the parser and is moved by feeding. */
#ifndef FAAS_HTTP_PARSE_H
#define FAAS_HTTP_PARSE_H

#include <llhttp.h>

#include "http/http.h"

struct http_limits {
    size_t line_max, headers_max, body_max; /* bytes; see struct http_config */
};

enum http_stage {
    HTTP_STAGE_START,  /* no byte of the request yet */
    HTTP_STAGE_HEAD,   /* in the request line or the headers */
    HTTP_STAGE_LENGTH, /* in a body with a Content-Length */
    HTTP_STAGE_CHUNKS, /* in a chunked body */
    HTTP_STAGE_WHOLE,
};

struct http_parser {
    llhttp_t llhttp;
    const struct http_limits *limits; /* borrowed: outlives the parser */
    struct http_request *request;     /* borrowed */
    enum http_stage stage;
    bool http10;
    bool expect_continue; /* the client waits for 100 Continue before it sends the body */
    bool body_in_place;   /* the body is a part of the input */
    uint64_t body_left;   /* HTTP_STAGE_LENGTH: bytes of the body that did not come yet */
    struct buf body;      /* owned */
    const char *fed;      /* start of the bytes of this feed… */
    size_t fed_before;    /* …and how many of the message came before them */
    size_t head_bytes;    /* request line and headers, with the empty lines that came in the same feed */
    size_t line_bytes;    /* request line without its CRLF */
    size_t extra_bytes;   /* chunk extensions and trailers */
    uint32_t trailer_count;
    bool in_name;          /* the header at the end of the list still lacks its value's end */
    enum err_code refusal; /* why a callback stopped llhttp, or ERR_OK */
};

/* On zeroed memory. */
void http_parser_init(struct http_parser *parser, const struct http_limits *limits);
void http_parser_fini(struct http_parser *parser);
/* Ready for the next message, which goes into *request. Keeps the memory of `body`. */
void http_parser_begin(struct http_parser *parser, struct http_request *request);

/* Takes the bytes behind those that were taken before. Until the head is whole, and for a body in place,
 * `data` must continue them in memory, too. Returns 1: the request is whole, 0: it is not yet; *ret_used
 * bytes were taken (all of them for 0). Errors: ERR_BAD_REQUEST, ERR_URI_TOO_LONG, ERR_HEADERS_TOO_LARGE,
 * ERR_TOO_LARGE, ERR_EXPECTATION, ERR_METHOD, ERR_INTERNAL (no memory); the connection cannot be read any
 * further after one. */
int http_parser_feed(struct http_parser *parser, const char *data, size_t len, size_t *ret_used,
                     struct err *err);

/* The `len` bytes at `from` now lie at `to`; both are readable still. */
void http_parser_move(struct http_parser *parser, const char *from, size_t len, const char *to);

/* HTTP_STAGE_LENGTH: moves what there is of the body into `body` and makes room for up to `room` more bytes,
 * which the caller reads to body.data + body.len and feeds from there. */
int http_parser_spill(struct http_parser *parser, size_t room, struct err *err);

#endif

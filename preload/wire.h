/* What the shim and the supervisor agree on. Plain C, no includes: also read by programs that speak to
 * neither. Only ever a hint: anything in the plugin's process can say the same. */
#ifndef SECBOX_PRELOAD_WIRE_H
#define SECBOX_PRELOAD_WIRE_H

/* prctl(SECBOX_HELLO_PRCTL, SECBOX_WIRE_VERSION, process id, 0, 0): "the shim is loaded in this process". A
 * private option: without a supervisor the kernel answers EINVAL, and nothing happens. */
#define SECBOX_HELLO_PRCTL 0x53424f58 /* "SBOX" */
#define SECBOX_WIRE_VERSION 1

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* shim_enable() of shim-client.h: klpd-helper's one request to the shim. */
#include <netlink/attr.h>

#include "klpd/shim-client.h"
#include "klpd/shim-socket.h"

int shim_enable(const char *name, uint64_t generation, PolicyError *error) {
        _cleanup_nl_socket_free_ struct nl_sock *s = NULL;
        _cleanup_nlmsg_free_ struct nl_msg *msg = NULL;
        uint8_t buffer[8192] __attribute__((aligned(8)));
        ShimExchange x = { .seq = 1, .error = error };
        int family, r;

        r = shim_socket_new(&s);
        if (r < 0)
                return policy_error_set(error, r, "can't open a netlink socket: %s", strerror(-r));
        r = shim_find_family(s, &family);
        if (r < 0)
                return policy_error_set(error, r, "the kernel module klp_shim isn't loaded");

        r = shim_request_new(family, KLP_SHIM_CMD_ENABLE, NLM_F_ACK, x.seq, &msg);
        if (r < 0)
                return policy_error_set(error, r, "%s", strerror(-r));
        if (nla_put_string(msg, KLP_SHIM_A_NAME, name) < 0 ||
            nla_put_u64(msg, KLP_SHIM_A_GENERATION, generation) < 0)
                return policy_error_set(error, -ENOMEM, "%s", strerror(ENOMEM));

        /* As long as it takes: whoever waits for us has a deadline. */
        return shim_socket_exchange(s, buffer, sizeof(buffer), msg, -1, &x);
}

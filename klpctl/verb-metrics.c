/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl metrics: what klpd tells monitoring, as it is. */
#include "bus.h"

int verb_metrics(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *text = NULL;
        int r;

        r = ctl_bus_get(c, "Metrics", NULL, "read the metrics", &text);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, text);
        fputs(json_object_get_string(text), stdout);
        return EXIT_DONE;
}

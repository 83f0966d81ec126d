/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * clock-certain yes|no: tells the kernel that its clock is disciplined, or isn't, as a time daemon would. The
 * time itself stays.
 */
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

int main(int argc, char *argv[]) {
        struct timex t = { .modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR };

        if (argc != 2 || (strcmp(argv[1], "yes") != 0 && strcmp(argv[1], "no") != 0)) {
                fprintf(stderr, "clock-certain yes|no\n");
                return 2;
        }
        if (strcmp(argv[1], "no") == 0) {
                t.status = STA_UNSYNC;
                t.maxerror = 16000000;
        }
        if (adjtimex(&t) < 0) {
                perror("adjtimex");
                return 1;
        }
        return 0;
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Completion of klpctl(8) for bash. Names come from klpctl itself; when klpd can't be reached, there are none.

__klpctl_patches() {
        klpctl list --json=short 2>/dev/null |
                sed 's/},{/}\n{/g' | sed -n "${1:-p}" | sed -n 's/.*"name":"\([^"]*\)".*/\1/p'
}

__klpctl_jobs() {
        klpctl jobs --no-legend 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1 }'
}

__klpctl_rules() {
        klpctl policy explain --no-legend 2>/dev/null | awk '{ print $1 }'
}

_klpctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
        local i verb='' words='' files=''
        local -A options=(
                [general]='-h --help --version --json --json=pretty --json=short --no-legend -l --full -q --quiet
                           --no-ask-password'
                [request]='--reason --timeout --no-block --level --stream --accept-irreversible --replace-foreign
                           --allow-vendor'
                [plan]='--level --stream --accept-irreversible --replace-foreign --allow-vendor --request --inventory
                        --candidate --patch --repository --policy --profile --batch'
                [fleet]='--inventory --summary --at --repository --policy --profile'
                [history]='--since --until --patch -n --lines -r --reverse -b --boot --file'
                [import]='--replace --reason'
                [remove]='--kernel --reason'
                [reject]='--reason'
                [force]='-y --yes --reason'
                [quarantine]='--remove --reason'
        )
        local -A verbs=(
                [list]='' [status]='' [show]='' [plan]=plan [apply]=request [downgrade]=request [disable]=request
                [states]='' [blocking]='' [jobs]='' [cancel]='' [force]=force [history]=history [metrics]='' [policy]='' [fleet]=fleet [import]=import [remove]=remove [verify]='' [accept]=''
                [reject]=reject [quarantine]=quarantine
        )

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                --reason | --timeout | --level | --stream | --allow-vendor | --request | --inventory | --candidate | \
                        --patch | --repository | --policy | --profile | --at | --since | --until | --lines | -n | --file | --kernel)
                        ((i++))
                        ;;
                -*) ;;
                *)
                        verb=${COMP_WORDS[i]}
                        break
                        ;;
                esac
        done

        case $prev in
        --request) words='apply downgrade disable converge' ;;
        --profile) words='upstream block-disable level-only' ;;
        --inventory | --candidate | --policy | --file) files=-f ;;
        --repository) files=-d ;;
        --patch) words=$(__klpctl_patches) ;;
        --since | --until | --at) words='today yesterday now' ;;
        --reason | --timeout | --level | --stream | --allow-vendor | --lines | -n | --kernel) return ;;
        *)
                if [[ $cur == -* ]]; then
                        words=${options[general]}
                        if [[ $verb ]]; then
                                words+=" ${options[${verbs[$verb]:-general}]}"
                        fi
                        [[ $verb == blocking ]] && words+=' --stacks'
                        [[ $verb == policy ]] && words+=' --profile'
                elif [[ ! $verb ]]; then
                        words=${!verbs[*]}
                else
                        case $verb in
                        apply) words=$(__klpctl_patches) files=-f ;;
                        import) files=-f ;;
                        show | downgrade | remove | verify | accept | reject | quarantine) words=$(__klpctl_patches) ;;
                        disable) words=$(__klpctl_patches '/"state":"enabled"/p') ;;
                        plan) words="apply downgrade disable $(__klpctl_patches)" files=-f ;;
                        cancel) words=$(__klpctl_jobs) ;;
                        fleet)
                                words='status explain resume reset-serial validate plan diff' files=''
                                [[ $prev == fleet ]] || words='' files=-f
                                ;;
                        policy)
                                case $prev in
                                policy) words='show check explain' ;;
                                explain) words=$(__klpctl_rules) ;;
                                show | check) files=-f ;;
                                esac
                                ;;
                        esac
                fi
                ;;
        esac

        mapfile -t COMPREPLY < <(compgen -W "$words" ${files:+"$files"} -- "$cur")
        [[ $files ]] && compopt -o filenames
        return 0
}

complete -F _klpctl klpctl

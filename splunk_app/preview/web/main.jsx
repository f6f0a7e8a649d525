// The page of a dashboard: Splunk's own renderer over a definition, as Splunk's
// web interface starts it.
import { page } from './config.js';
import React, { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { SplunkThemeProvider } from '@splunk/themes';
import { DashboardContextProvider } from '@splunk/dashboard-context';
import DashboardCore from '@splunk/dashboard-core';
import preset from '@splunk/dashboard-presets/EnterpriseViewOnlyPreset';
import { migrateToTabsLayout } from '@splunk/dashboard-utils';
import { address, withTokens } from './tokens.js';

// The renderer of 29.x draws tabs; what is shipped is for Splunk 9.x.
const definition = () => migrateToTabsLayout({ definition: withTokens(page.definition, new URLSearchParams(location.search)) }).definition;

// As in Splunk, the address holds what the inputs are set to.
const remember = (tokens) => history.replaceState(null, '', address(page.definition, tokens.default ?? {}, location));

const other = { dark: 'light', light: 'dark' };
const button = document.getElementById('theme');

function Dashboard() {
    const [theme, setTheme] = useState(page.theme);
    document.documentElement.className = theme;
    document.cookie = `${page.cookie}=${theme}; path=/; samesite=strict`;
    button.textContent = `${other[theme]} theme`;
    button.onclick = () => setTheme(other[theme]);
    // With a theme everything is drawn and searched anew.
    return (
        <SplunkThemeProvider key={theme} family="enterprise" colorScheme={theme} density="comfortable">
            <DashboardContextProvider
                preset={preset}
                initialDefinition={definition()}
                initialMode="view"
                timezone={{ ianaTimezone: 'UTC' }}
                onTokenBindingChange={remember}
            >
                <DashboardCore width="100%" height="auto" onValidationError={(what) => console.error(`definition: ${what}`)} />
            </DashboardContextProvider>
        </SplunkThemeProvider>
    );
}

createRoot(document.getElementById('dashboard')).render(<Dashboard />);

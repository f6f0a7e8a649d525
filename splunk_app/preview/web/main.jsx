// The page of a dashboard: Splunk's own renderer over a definition, as Splunk's
// web interface starts it.
import { page } from './config.js';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { SplunkThemeProvider } from '@splunk/themes';
import { DashboardContextProvider } from '@splunk/dashboard-context';
import DashboardCore from '@splunk/dashboard-core';
import preset from '@splunk/dashboard-presets/EnterpriseViewOnlyPreset';
import { migrateToTabsLayout } from '@splunk/dashboard-utils';
import { drilldowns } from './drilldown.js';
import { withTokens } from './tokens.js';

// The renderer of 29.x draws tabs; what is shipped is for Splunk 9.x.
const { definition } = migrateToTabsLayout({
    definition: withTokens(page.definition, new URLSearchParams(location.search)),
});

createRoot(document.getElementById('dashboard')).render(
    <SplunkThemeProvider family="enterprise" colorScheme={page.theme} density="comfortable">
        <DashboardContextProvider
            preset={{ ...preset, eventHandlers: { ...preset.eventHandlers, ...drilldowns } }}
            initialDefinition={definition}
            initialMode="view"
            timezone={{ ianaTimezone: 'UTC' }}
        >
            <DashboardCore width="100%" height="auto" />
        </DashboardContextProvider>
    </SplunkThemeProvider>
);
